//! GPUs: how many, which, and what they are. MIG devices where NVML lets the same function take both.

use super::exports;
use crate::abi::{InText, Out, OutText, field};
use crate::call::{Call, compute_instance};
use crate::code::Code;
use crate::handle::{Handle, Thing};
use crate::layout::{Memory, MemoryV2, PciInfo, PciInfoV1, PciInfoV2, version};
use crate::state::Gpu;

const MIB: u64 = 1 << 20;

exports! {
    fn nvmlDeviceGetCount | nvmlDeviceGetCount_v2(count: Out<u32>) |call| {
        count.put(call.session()?.state.gpus.len() as u32)
    }

    fn nvmlDeviceGetHandleByIndex | nvmlDeviceGetHandleByIndex_v2(index: u32, device: Out<Handle>) |call| {
        let session = call.session()?;
        let at = index as usize;
        if at >= session.state.gpus.len() {
            return Err(Code::INVALID_ARGUMENT);
        }
        call.touch(at)?;
        device.put(Handle::new(session.number, Thing::Gpu(at)))
    }

    fn nvmlDeviceGetHandleByUUID(uuid: InText, device: Out<Handle>) |call| {
        let session = call.session()?;
        let uuid = uuid.get()?;
        if !uuid.starts_with("GPU-") && !uuid.starts_with("MIG-") {
            return Err(Code::INVALID_ARGUMENT);
        }
        let found = session.state.gpus.iter().enumerate().find_map(|(at, gpu)| {
            if gpu.uuid == uuid {
                return Some(Thing::Gpu(at));
            }
            gpu.find_mig(|_, ci| ci.uuid == uuid).map(|(gi, ci)| Thing::Mig(at, gi, ci))
        });
        let thing = found.ok_or(Code::NOT_FOUND)?;
        let (Thing::Gpu(gpu) | Thing::Mig(gpu, ..)) = thing else {
            return Err(Code::UNKNOWN);
        };
        call.search(gpu)?;
        device.put(Handle::new(session.number, thing))
    }

    fn nvmlDeviceGetHandleByPciBusId | nvmlDeviceGetHandleByPciBusId_v2(
        bus_id: InText,
        device: Out<Handle>
    ) |call| {
        let session = call.session()?;
        let wanted = parse_bus_id(bus_id.get()?).ok_or(Code::INVALID_ARGUMENT)?;
        let at = session.state.gpus.iter().position(|gpu| gpu.pci == wanted).ok_or(Code::NOT_FOUND)?;
        call.search(at)?;
        device.put(Handle::new(session.number, Thing::Gpu(at)))
    }

    fn nvmlDeviceGetUUID(device: Handle, uuid: OutText, length: u32) |call| {
        let session = call.session()?;
        match call.thing(&session, device)? {
            Thing::Gpu(gpu) => uuid.put_text(length, &session.state.gpus[gpu].uuid),
            Thing::Mig(gpu, gi, ci) => {
                uuid.put_text(length, &compute_instance(&session, gpu, gi, ci)?.instance.uuid)
            }
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    fn nvmlDeviceGetName(device: Handle, name: OutText, length: u32) |call| {
        let session = call.session()?;
        match call.thing(&session, device)? {
            Thing::Gpu(gpu) => name.put_text(length, &session.state.gpus[gpu].name),
            Thing::Mig(gpu, gi, ci) => {
                let mig = compute_instance(&session, gpu, gi, ci)?;
                name.put_text(length, &format!("{} MIG {}", mig.gi.gpu.name, mig.profile_name()?))
            }
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    fn nvmlDeviceGetIndex(device: Handle, index: Out<u32>) |call| {
        let session = call.session()?;
        index.put(call.gpu(&session, device)?.0 as u32)
    }

    fn nvmlDeviceGetMinorNumber(device: Handle, minor: Out<u32>) |call| {
        let session = call.session()?;
        minor.put(call.gpu(&session, device)?.1.minor)
    }

    fn nvmlDeviceGetCudaComputeCapability(device: Handle, major: Out<i32>, minor: Out<i32>) |call| {
        let session = call.session()?;
        let known = call.gpu(&session, device)?.1.compute_capability;
        let (its_major, its_minor) = known.ok_or(Code::NOT_SUPPORTED)?;
        major.put(its_major)?;
        minor.put(its_minor)
    }

    fn nvmlDeviceGetBrand(device: Handle, brand: Out<u32>) |call| {
        let session = call.session()?;
        brand.put(call.gpu(&session, device)?.1.brand.ok_or(Code::NOT_SUPPORTED)?)
    }

    fn nvmlDeviceGetPersistenceMode(device: Handle, mode: Out<u32>) |call| {
        let session = call.session()?;
        call.gpu(&session, device)?;
        mode.put(session.state.persistence.into())
    }

    fn nvmlDeviceGetPciInfo(device: Handle, info: Out<PciInfoV1>) |call| {
        info.put(pci_info(call, device)?.v2.v1)
    }

    fn nvmlDeviceGetPciInfo_v2(device: Handle, info: Out<PciInfoV2>) |call| {
        info.put(pci_info(call, device)?.v2)
    }

    fn nvmlDeviceGetPciInfo_v3(device: Handle, info: Out<PciInfo>) |call| {
        info.put(pci_info(call, device)?)
    }

    fn nvmlDeviceGetMemoryInfo(device: Handle, info: Out<Memory>) |call| {
        let total = memory(call, device)?;
        info.put(Memory { total, free: total, used: 0 })
    }

    fn nvmlDeviceGetMemoryInfo_v2(device: Handle, info: Out<MemoryV2>) |call| {
        let total = memory(call, device)?;
        let wanted = version::<MemoryV2>(2);
        if info.cast::<u32>().get()? != wanted {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        info.put(MemoryV2 { version: wanted, total, reserved: 0, free: total, used: 0 })
    }
}

/// `0000:07:00.0`, `00000000:07:00.0` or `07:00.0`, in either case: domain, bus, device.
fn parse_bus_id(text: &str) -> Option<(u32, u32, u32)> {
    let (rest, function) = text.split_once('.')?;
    let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let parts: Vec<u32> = rest.split(':').map(hex).collect::<Option<_>>()?;
    match (parts[..].as_ref(), hex(function)?) {
        ([bus, device], 0) => Some((0, *bus, *device)),
        ([domain, bus, device], 0) => Some((*domain, *bus, *device)),
        _ => None,
    }
}

fn pci_info(call: &mut Call, device: Handle) -> Result<PciInfo, Code> {
    let session = call.session()?;
    let (_, gpu) = call.gpu(&session, device)?;
    let Gpu {
        pci: (domain, bus, slot),
        pci_device_id,
        ..
    } = *gpu;
    let v1 = PciInfoV1 {
        bus_id: field(&format!("{domain:04X}:{bus:02X}:{slot:02X}.0")),
        domain,
        bus,
        device: slot,
        pci_device_id,
    };
    Ok(PciInfo {
        v2: PciInfoV2 {
            v1,
            pci_subsystem_id: 0,
        },
        bus_id: field(&format!("{domain:08X}:{bus:02X}:{slot:02X}.0")),
    })
}

/// All memory of a GPU or a MIG device, in bytes.
fn memory(call: &mut Call, device: Handle) -> Result<u64, Code> {
    let session = call.session()?;
    let mib = match call.thing(&session, device)? {
        Thing::Gpu(gpu) => session.state.gpus[gpu].memory_mib.ok_or(Code::NOT_SUPPORTED)?,
        Thing::Mig(gpu, gi, ci) => compute_instance(&session, gpu, gi, ci)?.gi.profile.memory_mib,
        _ => return Err(Code::INVALID_ARGUMENT),
    };
    Ok(mib * MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_id_is_known_in_every_form() {
        for text in ["0000:0F:00.0", "00000000:0f:00.0", "0f:00.0"] {
            assert_eq!(parse_bus_id(text), Some((0, 15, 0)), "{text}");
        }
        for text in ["", "0f:00", "0:0:0:0.0", "zz:00.0", "0f:00.1"] {
            assert_eq!(parse_bus_id(text), None, "{text}");
        }
    }
}
