//! What the library answers: NVML's codes and its views of a node, row by row.

use nvml_wrapper_sys::bindings::{
    nvmlComputeInstanceInfo_t, nvmlDeviceAttributes_t, nvmlGpuInstanceInfo_t, nvmlGpuInstancePlacement_t,
    nvmlGpuInstanceProfileInfo_t, nvmlGpuInstanceProfileInfo_v2_t,
};
use rustix::process::Uid;

use crate::{ask, asked, gpu, known, load, mig, node, text, uuid};

/// A plain C struct, zeroed.
macro_rules! zeroed {
    ($type:ty) => {{
        // SAFETY: structs of integers, characters and pointers, for which all zeroes is a value.
        unsafe { std::mem::zeroed::<$type>() }
    }};
}

/// What an enabled MIG GPU's profile info at an index gives.
fn profile(
    lib: &nvml_wrapper_sys::bindings::NvmlLib,
    device: *mut nvml_wrapper_sys::bindings::nvmlDevice_st,
    index: u32,
) -> Result<nvmlGpuInstanceProfileInfo_t, u32> {
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
fn placements_are_all_that_a_profile_allows() {
    let node = known("one-gpu");
    let lib = asked(&node);
    let device = gpu(&lib, 0);
    let mut count = 0;
    let null = std::ptr::null_mut();
    assert_eq!(
        ask!(
            lib,
            nvmlDeviceGetGpuInstancePossiblePlacements_v2(device, 14, null, &mut count)
        ),
        0
    );
    let mut placements = vec![zeroed!(nvmlGpuInstancePlacement_t); count as usize];
    let code = ask!(
        lib,
        nvmlDeviceGetGpuInstancePossiblePlacements_v2(device, 14, placements.as_mut_ptr(), &mut count)
    );
    let places: Vec<(u32, u32)> = placements.iter().map(|place| (place.start, place.size)).collect();
    assert_eq!(
        (code, places.as_slice()),
        (0, [(0, 2), (2, 2), (4, 2)].as_slice())
    );
}

#[test]
fn remaining_capacity_counts_what_still_fits() {
    let half =
        node(r#"{"gpus": [{"instances": [{"profile": "3g.40gb", "start": 4}, {"profile": "1g.10gb+me"}]}]}"#);
    let lib = asked(&half);
    let device = gpu(&lib, 0);
    let left = |id: u32| {
        let mut count = 99;
        assert_eq!(
            ask!(
                lib,
                nvmlDeviceGetGpuInstanceRemainingCapacity(device, id, &mut count)
            ),
            0
        );
        count
    };
    // Slices 1 to 3 are free: three 1g, one 1g.20gb or 2g at 2, no 3g, 4g, 7g, and no second +me.
    assert_eq!([19, 15, 14, 9, 5, 0, 20].map(left), [3, 1, 1, 0, 0, 0, 0]);
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
fn ids_map_to_places_as_the_die_does() {
    let node = known("id-maps");
    let lib = asked(&node);
    let places = |index: u32| {
        let device = gpu(&lib, index);
        (0..3)
            .map(|at| {
                let (mut id, mut instance) = (0, std::ptr::null_mut());
                assert_eq!(
                    ask!(lib, nvmlDeviceGetGpuInstanceId(mig(&lib, device, at), &mut id)),
                    0
                );
                assert_eq!(
                    ask!(lib, nvmlDeviceGetGpuInstanceById(device, id, &mut instance)),
                    0
                );
                let mut info = zeroed!(nvmlGpuInstanceInfo_t);
                assert_eq!(ask!(lib, nvmlGpuInstanceGetInfo(instance, &mut info)), 0);
                assert_eq!((info.id, info.device), (id, device));
                (id, info.profileId, info.placement.start, info.placement.size)
            })
            .collect::<Vec<_>>()
    };
    // 3g at 0, 2g at 4, 1g at 6 on both; the order by id differs with the die.
    assert_eq!(places(0), [(1, 9, 0, 4), (5, 14, 4, 2), (13, 19, 6, 1)]);
    assert_eq!(places(1), [(2, 9, 0, 4), (3, 14, 4, 2), (9, 19, 6, 1)]);
}

#[test]
fn compute_instances_share_their_gpu_instance() {
    let node = known("dgx-a100");
    let lib = asked(&node);
    let device = gpu(&lib, 6);
    let found: Vec<(u32, u32, u64)> = (0..5)
        .map(|at| {
            let part = mig(&lib, device, at);
            let mut attributes = zeroed!(nvmlDeviceAttributes_t);
            assert_eq!(ask!(lib, nvmlDeviceGetAttributes_v2(part, &mut attributes)), 0);
            (
                attributes.gpuInstanceSliceCount,
                attributes.computeInstanceSliceCount,
                attributes.memorySizeMB,
            )
        })
        .collect();
    // Swapped halves: the second instance in the file has the lower id.
    assert_eq!(
        found,
        [
            (3, 1, 40192),
            (3, 1, 40192),
            (3, 1, 40192),
            (3, 1, 40192),
            (3, 2, 40192)
        ]
    );

    let (mut gi, mut ci) = (std::ptr::null_mut(), std::ptr::null_mut());
    assert_eq!(ask!(lib, nvmlDeviceGetGpuInstanceById(device, 2, &mut gi)), 0);
    assert_eq!(
        ask!(lib, nvmlGpuInstanceGetComputeInstanceById(gi, 1, &mut ci)),
        0
    );
    let mut info = zeroed!(nvmlComputeInstanceInfo_t);
    assert_eq!(ask!(lib, nvmlComputeInstanceGetInfo_v2(ci, &mut info)), 0);
    assert_eq!(
        (info.id, info.profileId, info.placement.start, info.placement.size),
        (1, 1, 1, 2)
    );
    assert_eq!((info.gpuInstance, info.device), (gi, mig(&lib, device, 4)));
    assert_eq!(
        ask!(lib, nvmlGpuInstanceGetComputeInstanceById(gi, 2, &mut ci)),
        6
    );
}

#[test]
fn indexes_have_holes_and_a_gpu_instance_alone_is_no_device() {
    let node = known("holes");
    let lib = asked(&node);
    let codes = |index: u32| {
        let device = gpu(&lib, index);
        let mut part = std::ptr::null_mut();
        (0..7)
            .map(|at| ask!(lib, nvmlDeviceGetMigDeviceHandleByIndex(device, at, &mut part)))
            .collect::<Vec<_>>()
    };
    assert_eq!(codes(0), [6, 0, 6, 6, 0, 0, 0]);
    assert_eq!(codes(1), [0, 6, 6, 6, 6, 6, 6]);
    assert_eq!(codes(2), [6; 7]);
    let (mut instances, mut count) = ([std::ptr::null_mut(); 7], 0);
    let device = gpu(&lib, 2);
    assert_eq!(
        ask!(
            lib,
            nvmlDeviceGetGpuInstances(device, 19, instances.as_mut_ptr(), &mut count)
        ),
        0
    );
    assert_eq!(count, 1);
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
