//! What the library answers: NVML's codes and its views of a node, row by row.

use nvml_wrapper_sys::bindings::{
    NvmlLib, nvmlDevice_t, nvmlGpuInstanceProfileInfo_t, nvmlGpuInstanceProfileInfo_v2_t,
};
use rustix::process::Uid;

use crate::{ask, asked, gpu, known, load, mig, text, uuid, zeroed};

/// What an enabled MIG GPU's profile info at an index gives.
fn profile(lib: &NvmlLib, device: nvmlDevice_t, index: u32) -> Result<nvmlGpuInstanceProfileInfo_t, u32> {
    let mut info = zeroed!(nvmlGpuInstanceProfileInfo_t);
    match ask!(lib, nvmlDeviceGetGpuInstanceProfileInfo(device, index, &mut info)) {
        0 => Ok(info),
        code => Err(code),
    }
}

#[test]
fn mig_mode_is_known_where_there_is_mig() {
    let node = known("mixed");
    let lib = asked(&node);
    let mut modes = Vec::new();
    for index in 0..8 {
        let (mut current, mut pending, mut most) = (9, 9, 9);
        let device = gpu(&lib, index);
        let code = ask!(lib, nvmlDeviceGetMigMode(device, &mut current, &mut pending));
        assert_eq!(ask!(lib, nvmlDeviceGetMaxMigDeviceCount(device, &mut most)), 0);
        modes.push((code, current, pending, most));
    }
    let on = |most| (0, 1, 1, most);
    // Pending and off: no devices and no error; without MIG: not supported, and still no error for the count.
    let others = [(0, 0, 1, 0), (0, 0, 0, 0), (3, 9, 9, 0)];
    assert_eq!(modes[..4], [on(7), on(7), on(7), on(4)]);
    assert_eq!(modes[4..7], others);
    assert_eq!(modes[7], on(7));
}

#[test]
fn gpu_instance_calls_need_mig() {
    let node = known("mixed");
    let lib = asked(&node);
    for off in [4, 5, 6] {
        let device = gpu(&lib, off);
        let (mut count, mut instance) = (0, std::ptr::null_mut());
        assert_eq!(profile(&lib, device, 0).err(), Some(3));
        assert_eq!(
            ask!(lib, nvmlDeviceGetGpuInstanceById(device, 0, &mut instance)),
            3
        );
        assert_eq!(
            ask!(
                lib,
                nvmlDeviceGetGpuInstances(device, 19, &mut instance, &mut count)
            ),
            3
        );
        assert_eq!(
            ask!(
                lib,
                nvmlDeviceGetGpuInstanceRemainingCapacity(device, 19, &mut count)
            ),
            3
        );
    }
}

#[test]
fn profiles_have_holes_and_an_end() {
    let node = known("one-gpu");
    let lib = asked(&node);
    let device = gpu(&lib, 0);
    let codes: Vec<u32> = (0..18)
        .map(|index| profile(&lib, device, index).err().unwrap_or(0))
        .collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 3, 3, 0, 3, 0, 3, 3, 3, 3, 3, 3, 3, 2]);
    let one = profile(&lib, device, 0).unwrap();
    assert_eq!(
        (one.id, one.sliceCount, one.instanceCount, one.memorySizeMB),
        (19, 1, 7, 9984)
    );

    let mut named = zeroed!(nvmlGpuInstanceProfileInfo_v2_t);
    assert_eq!(
        ask!(lib, nvmlDeviceGetGpuInstanceProfileInfoV(device, 7, &mut named)),
        25
    );
    named.version = 0x0200_0098;
    assert_eq!(
        ask!(lib, nvmlDeviceGetGpuInstanceProfileInfoV(device, 7, &mut named)),
        0
    );
    assert_eq!((named.id, text(&named.name).as_str()), (20, "MIG 1g.10gb+me"));
}

#[test]
fn what_does_not_exist_is_not_found() {
    let node = known("one-gpu");
    let lib = asked(&node);
    let device = gpu(&lib, 0);
    let mut out = std::ptr::null_mut();
    assert_eq!(
        ask!(lib, nvmlDeviceGetMigDeviceHandleByIndex(device, 3, &mut out)),
        6
    );
    assert_eq!(
        ask!(lib, nvmlDeviceGetMigDeviceHandleByIndex(device, 7, &mut out)),
        2
    );
    assert_eq!(ask!(lib, nvmlDeviceGetHandleByIndex_v2(1, &mut out)), 2);
    let mut instance = std::ptr::null_mut();
    assert_eq!(
        ask!(lib, nvmlDeviceGetGpuInstanceById(device, 9, &mut instance)),
        6
    );
    for (name, code) in [(c"MIG-00000000-0000-5000-8000-000000000000", 6), (c"nonsense", 2)] {
        assert_eq!(
            ask!(lib, nvmlDeviceGetHandleByUUID(name.as_ptr(), &mut out)),
            code
        );
    }
    for (name, code) in [
        (c"00000000:07:00.0", 0),
        (c"0000:07:00.0", 0),
        (c"0000:08:00.0", 6),
        (c"7", 2),
    ] {
        assert_eq!(
            ask!(lib, nvmlDeviceGetHandleByPciBusId_v2(name.as_ptr(), &mut out)),
            code
        );
    }
}

#[test]
fn wrong_arguments_are_refused() {
    let node = known("one-gpu");
    let lib = load(&node.library());
    let mut number = 0;
    assert_eq!(ask!(lib, nvmlDeviceGetCount_v2(&mut number)), 1);
    assert_eq!(ask!(lib, nvmlShutdown()), 1);
    let lib = asked(&node);
    let (device, null) = (gpu(&lib, 0), std::ptr::null_mut());
    let part = mig(&lib, device, 0);
    assert_eq!(ask!(lib, nvmlDeviceGetCount_v2(std::ptr::null_mut())), 2);
    assert_eq!(uuid(&lib, null).err(), Some(2));
    assert_eq!(ask!(lib, nvmlDeviceGetMinorNumber(part, &mut number)), 2);
    assert_eq!(ask!(lib, nvmlDeviceGetGpuInstanceId(device, &mut number)), 2);
    let mut short = [0; 40];
    assert_eq!(ask!(lib, nvmlDeviceGetUUID(device, short.as_mut_ptr(), 40)), 7);
}

#[test]
fn gpu_instances_are_for_root() {
    let node = known("one-gpu");
    let lib = asked(&node);
    let codes = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            // The kernel keeps credentials by thread, so this one alone is nobody.
            let nobody = Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may become nobody");
            let device = gpu(&lib, 0);
            let (mut instance, mut count) = (std::ptr::null_mut(), 0);
            let code = [
                ask!(
                    lib,
                    nvmlDeviceGetGpuInstances(device, 9, &mut instance, &mut count)
                ),
                ask!(lib, nvmlDeviceGetGpuInstanceById(device, 1, &mut instance)),
                ask!(
                    lib,
                    nvmlDeviceGetGpuInstanceRemainingCapacity(device, 9, &mut count)
                ),
                ask!(
                    lib,
                    nvmlDeviceGetComputeRunningProcesses_v3(device, &mut count, std::ptr::null_mut())
                ),
            ];
            // A MIG device itself is anyone's to ask about.
            let part = mig(&lib, device, 0);
            (code, ask!(lib, nvmlDeviceGetGpuInstanceId(part, &mut count)))
        });
        asking.join().expect("no panic")
    });
    assert_eq!(codes, ([4, 4, 4, 4], 0));
}

#[test]
fn a_lost_gpu_is_counted_and_an_excluded_one_is_not() {
    let node = known("excluded-lost");
    let lib = asked(&node);
    let (mut count, mut device) = (0, std::ptr::null_mut());
    assert_eq!(ask!(lib, nvmlDeviceGetCount_v2(&mut count)), 0);
    let codes = [0, 1, 2].map(|index| ask!(lib, nvmlDeviceGetHandleByIndex_v2(index, &mut device)));
    assert_eq!((count, codes), (3, [0, 15, 0]));
    let mut minor = 0;
    assert_eq!(ask!(lib, nvmlDeviceGetMinorNumber(device, &mut minor)), 0);
    assert_eq!(minor, 3);
}

#[test]
fn an_old_driver_has_uuids_of_the_old_form() {
    let node = known("old-driver");
    let lib = asked(&node);
    let device = gpu(&lib, 0);
    let whole = uuid(&lib, device).unwrap();
    let parts: Vec<String> = (0..4)
        .map(|at| uuid(&lib, mig(&lib, device, at)).unwrap())
        .collect();
    assert_eq!(
        parts,
        ["1/0", "1/1", "5/0", "13/0"].map(|ids| format!("MIG-{whole}/{ids}"))
    );
}

/// By kind of GPU and by driver: a data centre's GPUs were Teslas before R470.
#[test]
fn what_images_may_require() {
    let facts = |name: &str| {
        let node = known(name);
        let lib = asked(&node);
        let (mut cuda, mut count) = (0, 0);
        assert_eq!(ask!(lib, nvmlSystemGetCudaDriverVersion(&mut cuda)), 0);
        assert_eq!(ask!(lib, nvmlDeviceGetCount_v2(&mut count)), 0);
        let of_gpu = |index| {
            let (mut major, mut minor, mut brand) = (0, 0, 0);
            let device = gpu(&lib, index);
            let code = ask!(
                lib,
                nvmlDeviceGetCudaComputeCapability(device, &mut major, &mut minor)
            );
            assert_eq!(code, 0);
            let code = ask!(lib, nvmlDeviceGetBrand(device, &mut brand));
            (major, minor, (code, brand))
        };
        (cuda, (0..count).map(of_gpu).collect::<Vec<_>>())
    };
    let (tesla, nvidia) = ((0, 2), (0, 14));
    let (a100, h100) = ((8, 0, nvidia), (9, 0, nvidia));
    let mixed = [a100, a100, a100, a100, h100, h100, (7, 5, nvidia), h100];
    assert_eq!(facts("mixed"), (12080, mixed.to_vec()));
    assert_eq!(facts("old-driver"), (11020, vec![(8, 0, tesla)]));
    // Nobody has published its brand.
    let (_, rtx) = facts("rtx-pro-6000");
    assert_eq!(rtx, vec![(12, 0, (3, 0)); rtx.len()]);
}
