//! A node that is slow, broken or changed while clients run, and the trace of what they asked.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use fake_node::NodeSpec;
use nvml_wrapper_sys::bindings::nvmlProcessInfo_t;

use crate::{ask, asked, gpu, known, load, mig, uuid};

#[test]
fn handles_keep_answering_after_a_repartition() {
    let node = known("one-gpu");
    let lib = asked(&node);
    let old = mig(&lib, gpu(&lib, 0), 0);
    let before = uuid(&lib, old);
    let other: NodeSpec =
        serde_json::from_str(r#"{"gpus": [{"model": "a100-80gb", "instances": [{"profile": "4g.40gb"}]}]}"#)
            .unwrap();
    node.repartition(&other).unwrap();
    assert_eq!(uuid(&lib, old), before);
    let gone = node.proc().join("driver/nvidia/capabilities/gpu0/mig/gi5");
    assert!(
        !gone.exists(),
        "/proc shows what is, whatever a process has cached"
    );

    assert_eq!(ask!(lib, nvmlShutdown()), 0);
    assert_eq!(ask!(lib, nvmlInit_v2()), 0);
    assert_eq!(uuid(&lib, old), Err(2), "a handle of an older session");
    // The same GI id, so the same UUID: and another profile.
    assert_eq!(uuid(&lib, mig(&lib, gpu(&lib, 0), 0)), before);
    let (mut out, device) = (std::ptr::null_mut(), gpu(&lib, 0));
    assert_eq!(
        ask!(lib, nvmlDeviceGetMigDeviceHandleByIndex(device, 1, &mut out)),
        6
    );
}

#[test]
fn nvml_stays_initialised_until_its_last_user_goes() {
    let node = known("one-gpu");
    let lib = asked(&node);
    assert_eq!(ask!(lib, nvmlInitWithFlags(0)), 0);
    let mut count = 0;
    for code in [0, 1] {
        assert_eq!(ask!(lib, nvmlShutdown()), 0);
        assert_eq!(ask!(lib, nvmlDeviceGetCount_v2(&mut count)), code);
    }
}

#[test]
fn a_node_that_is_down_has_no_driver() {
    let node = known("one-gpu");
    let lib = load(&node.library());
    fake_node::down(node.dir()).unwrap();
    assert_eq!(ask!(lib, nvmlInit_v2()), 9);
}

#[test]
fn faults_reach_a_running_process() {
    let node = known("one-gpu");
    let lib = asked(&node);
    let device = gpu(&lib, 0);
    assert!(uuid(&lib, device).is_ok());
    node.set(&["fail=nvmlDeviceGetUUID:999"]).unwrap();
    assert_eq!(uuid(&lib, device), Err(999));
    node.set(&["fail="]).unwrap();
    assert!(uuid(&lib, device).is_ok());
    node.set(&["lost=0000:07:00.0"]).unwrap();
    assert_eq!(uuid(&lib, device), Err(15));
    node.set(&["lost=", "fail=nvmlInit:LIB_RM_VERSION_MISMATCH"])
        .unwrap();
    assert!(uuid(&lib, device).is_ok());
    assert_eq!(ask!(lib, nvmlInit_v2()), 18);
}

#[test]
fn a_fault_can_be_one_gpus() {
    let node = known("hgx-h100");
    node.set(&[
        "fail=nvmlDeviceGetUUID@3:RESET_REQUIRED",
        "fail=nvmlDeviceGetHandleByIndex@5:15",
    ])
    .unwrap();
    let lib = asked(&node);
    assert!(uuid(&lib, gpu(&lib, 2)).is_ok());
    assert_eq!(uuid(&lib, gpu(&lib, 3)), Err(16));
    let mut device = std::ptr::null_mut();
    assert_eq!(ask!(lib, nvmlDeviceGetHandleByIndex_v2(5, &mut device)), 15);
}

#[test]
fn a_hanging_call_comes_back_when_the_fault_is_cleared() {
    let node = known("one-gpu");
    node.start_trace().unwrap();
    node.set(&["hang=nvmlDeviceGetUUID"]).unwrap();
    let lib = asked(&node);
    let device = gpu(&lib, 0) as usize;
    thread::scope(|scope| {
        let asking = scope.spawn(|| uuid(&lib, device as *mut _));
        while node.trace().unwrap().last().unwrap().function != "nvmlDeviceGetUUID" {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(node.trace().unwrap().last().unwrap().code, None);
        thread::sleep(Duration::from_millis(100));
        assert!(!asking.is_finished());
        // Others are answered meanwhile.
        let mut count = 0;
        assert_eq!(ask!(lib, nvmlDeviceGetCount_v2(&mut count)), 0);
        node.set(&["hang="]).unwrap();
        assert!(asking.join().unwrap().is_ok());
    });
}

/// `NVML_INIT_FLAG_NO_ATTACH`
const NO_ATTACH: u32 = 2;

fn took(run: impl FnOnce()) -> u128 {
    let start = Instant::now();
    run();
    start.elapsed().as_millis()
}

#[test]
fn a_cold_gpu_is_slow_once_in_a_session() {
    let node = known("dgx-a100");
    node.set(&["init_ms=150", "first_touch_ms=400"]).unwrap();
    let lib = load(&node.library());
    let init = took(|| assert_eq!(ask!(lib, nvmlInitWithFlags(NO_ATTACH)), 0));
    assert!((150..400).contains(&init));
    for index in 0..3 {
        let first = took(|| assert!(!gpu(&lib, index).is_null()));
        assert!(first >= 400, "GPU {index}");
        assert!(took(|| drop(uuid(&lib, gpu(&lib, index)))) < 400, "GPU {index}");
    }
}

#[test]
fn an_init_attaches_every_gpu_unless_told_not_to() {
    let node = known("dgx-a100");
    node.set(&["first_touch_ms=200", "lost=7"]).unwrap();
    let lib = load(&node.library());
    assert!(took(|| assert_eq!(ask!(lib, nvmlInit_v2()), 0)) >= 7 * 200);
    assert!(took(|| drop(uuid(&lib, gpu(&lib, 5)))) < 200);
    assert_eq!(ask!(lib, nvmlShutdown()), 0);

    node.set(&["needs_attach=1"]).unwrap();
    assert_eq!(ask!(lib, nvmlInitWithFlags(NO_ATTACH)), 0);
    let (mut count, mut device) = (0, std::ptr::null_mut());
    assert_eq!(ask!(lib, nvmlDeviceGetCount_v2(&mut count)), 0);
    assert_eq!(ask!(lib, nvmlDeviceGetHandleByIndex_v2(0, &mut device)), 1);
    assert_eq!(ask!(lib, nvmlShutdown()), 0);
    assert_eq!(ask!(lib, nvmlInit_v2()), 0);
    assert_eq!(ask!(lib, nvmlDeviceGetHandleByIndex_v2(0, &mut device)), 0);
}

#[test]
fn a_search_wakes_those_that_it_passes() {
    let node = known("dgx-a100");
    let name = std::ffi::CString::new(node.state().unwrap().gpus[3].uuid.clone()).unwrap();
    node.set(&["first_touch_ms=200"]).unwrap();
    let lib = load(&node.library());
    assert_eq!(ask!(lib, nvmlInitWithFlags(NO_ATTACH)), 0);
    let mut device = std::ptr::null_mut();
    let search = took(|| {
        assert_eq!(
            ask!(lib, nvmlDeviceGetHandleByUUID(name.as_ptr(), &mut device)),
            0
        )
    });
    assert!(search >= 4 * 200);
    assert!(took(|| drop(uuid(&lib, gpu(&lib, 2)))) < 200);
}

#[test]
fn processes_are_listed_where_they_compute() {
    let node = known("one-gpu");
    let lib = asked(&node);
    let device = gpu(&lib, 0);
    let parts = [0, 1].map(|at| mig(&lib, device, at));
    let own = uuid(&lib, parts[1]).unwrap();
    node.set(&[&format!("process={own}:4711")]).unwrap();
    let list = |device| {
        let mut count = 0;
        let null = std::ptr::null_mut();
        if ask!(
            lib,
            nvmlDeviceGetComputeRunningProcesses_v3(device, &mut count, null)
        ) == 0
        {
            return Vec::new();
        }
        // SAFETY: a struct of integers.
        let mut infos = vec![unsafe { std::mem::zeroed::<nvmlProcessInfo_t>() }; count as usize];
        let code = ask!(
            lib,
            nvmlDeviceGetComputeRunningProcesses_v3(device, &mut count, infos.as_mut_ptr())
        );
        assert_eq!(code, 0);
        infos
            .iter()
            .map(|info| (info.pid, info.gpuInstanceId, info.computeInstanceId))
            .collect()
    };
    assert_eq!(list(parts[0]), []);
    assert_eq!(list(parts[1]), [(4711, 5, 0)]);
    assert_eq!(list(device), [(4711, 5, 0)]);
}

#[test]
fn a_setting_that_means_nothing_is_refused() {
    let node = known("one-gpu");
    for (setting, why) in [
        ("hang=nvmlMakeCoffee", "no function nvmlMakeCoffee"),
        ("fail=nvmlInit_v2:30", "no code 30"),
        ("lost=8", "no GPU '8'"),
        ("process=MIG-x:1", "no device MIG-x"),
        ("init_ms=soon", "no number"),
        ("speed=9", "no setting 'speed'"),
        ("hang", "KEY=VALUE"),
    ] {
        let error = format!("{:#}", node.set(&[setting]).unwrap_err());
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn the_trace_has_a_line_for_each_call() {
    let node = known("excluded-lost");
    let lib = asked(&node);
    assert_eq!(node.trace().unwrap(), [], "no trace was asked for");
    node.start_trace().unwrap();
    let device = gpu(&lib, 0);
    let _ = uuid(&lib, mig(&lib, device, 1));
    let mut count = 0;
    assert_eq!(ask!(lib, nvmlDeviceGetCount_v2(&mut count)), 0);
    let mut out = std::ptr::null_mut();
    assert_eq!(ask!(lib, nvmlDeviceGetHandleByIndex_v2(1, &mut out)), 15);
    let pid = std::process::id();
    let expected: String = [
        "nvmlDeviceGetHandleByIndex_v2 0 0",
        "nvmlDeviceGetMigDeviceHandleByIndex 0 0",
        "nvmlDeviceGetUUID 0 0",
        "nvmlDeviceGetCount_v2 - 0",
        "nvmlDeviceGetHandleByIndex_v2 1 15",
    ]
    .map(|line| format!("{pid} {line}\n"))
    .concat();
    assert_eq!(fs::read_to_string(node.dir().join("trace")).unwrap(), expected);
}

#[test]
fn lines_of_many_callers_do_not_mix() {
    let node = known("hgx-h100");
    node.start_trace().unwrap();
    let lib = asked(&node);
    thread::scope(|scope| {
        for index in 0..8 {
            let lib = &lib;
            scope.spawn(move || (0..200).for_each(|_| drop(uuid(lib, gpu(lib, index)))));
        }
    });
    let lines = node.trace().unwrap();
    assert_eq!(lines.len(), 1 + 8 * 200 * 2);
    for index in 0..8 {
        assert_eq!(lines.iter().filter(|line| line.gpu == Some(index)).count(), 400);
    }
}
