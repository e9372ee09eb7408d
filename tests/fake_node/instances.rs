//! GPU instances and compute instances: where they lie, what they are called, what still fits.

use nvml_wrapper_sys::bindings::{
    nvmlComputeInstanceInfo_t, nvmlDeviceAttributes_t, nvmlGpuInstanceInfo_t, nvmlGpuInstancePlacement_t,
};

use crate::{ask, asked, gpu, known, mig, node, zeroed};

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
