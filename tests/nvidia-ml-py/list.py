"""Lists a node's MIG devices with NVIDIA's own Python bindings, as JSON.

Finds libnvidia-ml.so.1 by LD_LIBRARY_PATH. GPUs that are lost are left out; any other error is an error.
"""

import json

import pynvml as n


def devices():
    for index in range(n.nvmlDeviceGetCount()):
        try:
            gpu = n.nvmlDeviceGetHandleByIndex(index)
        except n.NVMLError_GpuIsLost:
            continue
        assert n.nvmlDeviceGetIndex(gpu) == index
        by_bus = n.nvmlDeviceGetHandleByPciBusId(n.nvmlDeviceGetPciInfo(gpu).busId)
        assert n.nvmlDeviceGetUUID(by_bus) == n.nvmlDeviceGetUUID(gpu)
        for mig_index in range(n.nvmlDeviceGetMaxMigDeviceCount(gpu)):
            try:
                mig = n.nvmlDeviceGetMigDeviceHandleByIndex(gpu, mig_index)
            except n.NVMLError_NotFound:
                continue
            yield device(gpu, mig, mig_index)


def device(gpu, mig, index):
    uuid = n.nvmlDeviceGetUUID(mig)
    assert n.nvmlDeviceIsMigDeviceHandle(mig) and not n.nvmlDeviceIsMigDeviceHandle(gpu)
    assert n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByUUID(uuid)) == uuid
    parent = n.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig)
    attributes = n.nvmlDeviceGetAttributes(mig)
    assert n.nvmlDeviceGetMemoryInfo(mig).total == attributes.memorySizeMB << 20
    gi, ci = n.nvmlDeviceGetGpuInstanceId(mig), n.nvmlDeviceGetComputeInstanceId(mig)
    instance = n.nvmlDeviceGetGpuInstanceById(gpu, gi)
    compute = n.nvmlGpuInstanceGetComputeInstanceById(instance, ci)
    assert n.nvmlGpuInstanceGetInfo(instance).id == gi
    assert n.nvmlDeviceGetUUID(n.nvmlComputeInstanceGetInfo(compute).device) == uuid
    assert n.nvmlDeviceGetComputeRunningProcesses(mig) == []
    return {
        "gpu": n.nvmlDeviceGetUUID(parent),
        "minor": n.nvmlDeviceGetMinorNumber(parent),
        "index": index,
        "uuid": uuid,
        "gi": gi,
        "ci": ci,
        "profile": n.nvmlDeviceGetName(mig).rsplit(" MIG ", 1)[1],
        "memory_mib": attributes.memorySizeMB,
    }


n.nvmlInit()
print(json.dumps(list(devices())))
n.nvmlShutdown()
