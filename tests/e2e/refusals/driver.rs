//! The driver, its library and its GPUs are not as they should be. One GPU's trouble is no other GPU's.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fake_node::{GpuSpec, InstanceSpec, MigMode, NodeSpec};

use super::{ASKS, HOST, REFUSED, assert_says, config, refuses, serves};
use crate::support::machine::{Machine, PROGRAM};
use crate::support::process::{run_with, start};
use crate::support::runtime::{Engine, Runtime, everywhere};

const NOT_LOADED: &str = "load it with 'modprobe nvidia', or install it; 'nvidia-smi' must work first";
const LIBRARY: &str =
    "install the driver's libnvidia-ml.so.1 (Debian: libnvidia-ml1), or name it with nvml.library";
const NVIDIA_SMI: &str = "'nvidia-smi' must work first; 'dmesg' tells of the driver's trouble";

#[test]
fn the_driver_is_absent() {
    let machine = Machine::named("one-gpu");
    fs::remove_dir_all(machine.proc().join("driver")).expect("no driver");
    let version = machine.proc().join("driver/nvidia/version");
    let line = format!(
        "the NVIDIA driver is not loaded: {}: No such file or directory (os error 2); {NOT_LOADED}",
        version.display()
    );
    machine.start_trace().expect("a trace");
    refuses(&machine, ASKS, HOST, &line);
    // As root, NVML's init would make device nodes and call nvidia-modprobe.
    assert_eq!(machine.trace().expect("a trace"), [], "NVML was touched");
}

/// The same through runc's and crun's createRuntime: the container is gone, and nothing is held.
#[test]
fn the_driver_is_absent_and_the_container_exists_already() {
    for (runtime, view) in everywhere() {
        let machine = Machine::named("one-gpu");
        fs::remove_dir_all(machine.proc().join("driver")).expect("no driver");
        let engine = Engine::new(runtime, view);
        let bundle = machine.bundle().annotation("mig.profile", "1g.10gb").write();
        let outcome = engine.run(&bundle).failed();
        if runtime == Runtime::Runc {
            let line = "oci-mig-hook: the NVIDIA driver is not loaded: ";
            assert!(outcome.stderr.contains(line), "{view}: {outcome}");
            assert!(outcome.stderr.contains("exit status 3"), "{view}: {outcome}");
        }
        assert_eq!(machine.leases(), 0, "{runtime} {view}");
    }
}

#[test]
fn the_library_is_absent_or_none() {
    let machine = Machine::named("one-gpu");
    let library = machine.library();
    let line = |why: &str| {
        let library = library.display();
        format!("NVML can't be loaded from {library}: {library}: {why}; {LIBRARY}")
    };
    fs::write(&library, "no library").expect("a file");
    refuses(&machine, ASKS, HOST, &line("file too short"));
    fs::remove_file(&library).expect("no library");
    let missing = "cannot open shared object file: No such file or directory";
    refuses(&machine, ASKS, HOST, &line(missing));
}

/// Where no key names it and the loader doesn't know it.
#[test]
fn the_library_is_nowhere() {
    if Path::new("/proc/driver/nvidia/version").exists() {
        // This machine's loader finds one. Said past the test harness, which keeps what tests print.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"NOT TESTED here: a machine without NVML\n",
        );
        return;
    }
    let machine = Machine::named("one-gpu");
    let config = fs::read_to_string(machine.config()).expect("config.toml");
    let lines = config.lines().filter(|line| !line.starts_with("library = "));
    fs::write(machine.config(), lines.collect::<Vec<_>>().join("\n")).expect("config.toml");
    fs::remove_file(machine.library()).expect("no library");
    let line = format!(
        "NVML can't be loaded from libnvidia-ml.so.1: libnvidia-ml.so.1: cannot open shared object file: \
         No such file or directory; {LIBRARY}"
    );
    refuses(&machine, ASKS, HOST, &line);
}

/// NVIDIA's own library, of this distribution, on a machine without the driver.
#[test]
fn the_real_library_without_a_driver() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setup.d/real-nvml");
    let fetched = start(&mut Command::new(script), None)
        .wait(Duration::from_secs(300))
        .ok();
    let library = fetched.stdout.trim();
    if Path::new("/proc/driver/nvidia/version").exists() {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"NOT TESTED here: NVIDIA's library without a driver, since this machine has one\n",
        );
        return;
    }
    let machine = Machine::named("one-gpu");
    let replace = |old: &Path, new: &str| {
        let text = fs::read_to_string(machine.config()).expect("config.toml");
        let old = old.to_str().expect("a path of ours");
        fs::write(machine.config(), text.replace(old, new)).expect("config.toml");
    };
    replace(&machine.library(), library);
    let line = format!("the NVIDIA driver is not loaded: NVML: Driver Not Loaded; {NOT_LOADED}");
    // In a /dev of its own: as root, NVIDIA's library makes /dev/nvidiactl where there is none.
    let script = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        PROGRAM,
    ]);
    command.args(["precreate", "--config"]).arg(machine.config());
    assert_says(&run_with(&mut command, &config(ASKS).to_string()), HOST, &line);
    assert_eq!(machine.leases(), 0);
    // As the product goes about it, where nothing shows a driver: without asking the library at all.
    replace(&machine.proc(), "/proc");
    let line = format!(
        "the NVIDIA driver is not loaded: /proc/driver/nvidia/version: No such file or directory (os error 2); \
         {NOT_LOADED}"
    );
    refuses(&machine, ASKS, HOST, &line);
}

#[test]
fn nvml_as_a_whole_fails() {
    let machine = Machine::named("one-gpu");
    let library = machine.library();
    let library = library.display();
    for (fault, line) in [
        (
            "nvmlInitWithFlags:LIB_RM_VERSION_MISMATCH",
            format!(
                "NVML and the kernel module are of different driver versions: {library}; \
                 reboot, or reload the nvidia modules, after a driver upgrade"
            ),
        ),
        (
            "nvmlInitWithFlags:DRIVER_NOT_LOADED",
            format!("the NVIDIA driver is not loaded: NVML: Driver Not Loaded; {NOT_LOADED}"),
        ),
        (
            "nvmlInitWithFlags:999",
            format!("NVML can't be used: nvmlInit: an internal driver error occurred; {NVIDIA_SMI}"),
        ),
        (
            "nvmlSystemGetDriverVersion:999",
            format!(
                "NVML can't be used: nvmlSystemGetDriverVersion: an internal driver error occurred; {NVIDIA_SMI}"
            ),
        ),
        (
            "nvmlDeviceGetCount:NO_PERMISSION",
            format!(
                "NVML can't be used: nvmlDeviceGetCount: the current user does not have permission to perform \
                 this operation; {NVIDIA_SMI}"
            ),
        ),
    ] {
        machine.set(&[&format!("fail={fault}")]).expect("a fault");
        refuses(&machine, ASKS, HOST, &line);
        machine.set(&["fail="]).expect("no fault");
    }
    serves(&machine);
}

/// What brings a GPU back stands beside why it was left out.
#[test]
fn the_only_gpu_fails() {
    let machine = Machine::named("one-gpu");
    for (fault, reason) in [
        (
            "lost=0",
            "it has fallen off the bus (reset the machine; 'dmesg' tells why)",
        ),
        (
            "fail=nvmlDeviceGetMigMode:RESET_REQUIRED",
            "it needs a reset ('nvidia-smi --gpu-reset' while nothing uses it)",
        ),
        (
            "fail=nvmlDeviceGetUUID:999",
            "NVML: an internal driver error occurred",
        ),
        (
            "fail=nvmlDeviceGetMigDeviceHandleByIndex:999",
            "NVML: an internal driver error occurred",
        ),
    ] {
        machine.set(&[fault]).expect("a fault");
        let line = format!("no usable GPU: left out: GPU 0 ({reason}); see to what was left out");
        refuses(&machine, ASKS, REFUSED, &line);
        machine.set(&["lost=", "fail="]).expect("no fault");
    }
    // Its MIG devices, one by one.
    machine
        .set(&["fail=nvmlDeviceGetGpuInstanceById:NO_PERMISSION"])
        .expect("a fault");
    let left_out =
        [0, 1, 2].map(|at| format!("MIG device {at} of GPU 0 (NVML shows instances to root alone)"));
    let line = format!(
        "no 1g.10gb on this node: no MIG device can be used; not created are 1g.10gb, 1g.10gb+me, 1g.20gb, \
         2g.20gb, 3g.40gb, 4g.40gb, 7g.80gb; left out: {}; see to what was left out",
        left_out.join("; ")
    );
    refuses(&machine, ASKS, REFUSED, &line);
    machine.set(&["fail="]).expect("no fault");
    serves(&machine);
}

#[test]
fn no_gpu_at_all() {
    let machine = Machine::of(&NodeSpec::default());
    let line = "no usable GPU: the driver knows none; 'nvidia-smi -L' must list one first";
    refuses(&machine, ASKS, REFUSED, line);
}

#[test]
fn mig_is_off_everywhere() {
    let machine = Machine::named("mig-off");
    let line = "no GPU is in MIG mode: off on gpu 0, 1; turn it on with 'nvidia-smi -i 0 -mig 1' and create instances";
    refuses(&machine, ASKS, REFUSED, line);
}

fn gpu(mig: MigMode, profile: Option<&str>) -> GpuSpec {
    let instance = |profile: &str| InstanceSpec {
        profile: profile.to_owned(),
        ..Default::default()
    };
    GpuSpec {
        model: Some("a100-80gb".to_owned()),
        mig: Some(mig),
        instances: profile.into_iter().map(instance).collect(),
        ..Default::default()
    }
}

/// An excluded GPU, a lost one and one whose mode is about to change, beside two in good order.
#[test]
fn the_other_gpus_are_served() {
    let excluded = GpuSpec {
        excluded: true,
        ..gpu(MigMode::Enabled, None)
    };
    let lost = GpuSpec {
        lost: true,
        ..gpu(MigMode::Enabled, Some("2g.20gb"))
    };
    let pending = gpu(MigMode::Pending, None);
    let good = || gpu(MigMode::Enabled, Some("1g.10gb"));
    let machine = Machine::of(&NodeSpec {
        gpus: vec![good(), excluded, lost, pending, good()],
        ..Default::default()
    });
    let left_out = "left out: GPU 0000:0f:00.0 (the driver excludes it (NVreg_ExcludedGpus)); \
                    GPU 1 (it has fallen off the bus (reset the machine; 'dmesg' tells why)); \
                    GPU 2 (MIG mode is being switched on, pending a GPU reset ('nvidia-smi --gpu-reset' while \
                    nothing uses it))";
    let line = format!(
        "no 2g.20gb on this node: there are 2 x 1g.10gb; not created are 1g.10gb+me, 1g.20gb, 2g.20gb, 3g.40gb, \
         4g.40gb, 7g.80gb; {left_out}; create one with 'nvidia-smi mig -cgi 2g.20gb -C', or ask for another"
    );
    refuses(&machine, &[("mig.profile", "2g.20gb")], REFUSED, &line);
    let line = format!("not enough 1g.10gb: 3 asked for, 2 exist; {left_out}; ask for at most 2");
    refuses(
        &machine,
        &[("mig.profile", "1g.10gb"), ("mig.count", "3")],
        REFUSED,
        &line,
    );
    serves(&machine);
    serves(&machine);
    assert_eq!(machine.leases(), 2);
}

#[test]
fn the_kernel_modules_are_not_all_there() {
    let devices = |machine: &Machine| machine.proc().join("devices");
    for (name, what) in [
        (
            "nvidia-uvm",
            "the kernel module nvidia-uvm is not loaded: {} lists no 'nvidia-uvm'; \
             load it with 'modprobe nvidia-uvm' (at boot: 'nvidia-modprobe -u -c0')",
        ),
        (
            "nvidia-caps",
            "the NVIDIA driver has no MIG capabilities: {} lists no 'nvidia-caps'; \
             MIG needs driver R450 or later; see /proc/driver/nvidia/version",
        ),
        (
            "nvidia",
            "the kernel module nvidia is not loaded: {} lists no 'nvidia' or 'nvidia-frontend'; \
             load it with 'modprobe nvidia' (at boot: 'nvidia-modprobe -u -c0')",
        ),
    ] {
        let machine = Machine::named("one-gpu");
        let text = fs::read_to_string(devices(&machine)).expect("devices");
        let without = text
            .lines()
            .filter(|line| line.split_whitespace().nth(1) != Some(name));
        fs::write(devices(&machine), without.collect::<Vec<_>>().join("\n")).expect("devices");
        let line = what.replace("{}", &devices(&machine).display().to_string());
        refuses(&machine, ASKS, HOST, &line);
    }
    let machine = Machine::named("one-gpu");
    fs::remove_file(devices(&machine)).expect("no devices");
    let line = format!(
        "can't read {}: No such file or directory (os error 2); \
         /proc must be mounted here; driver.proc names another folder",
        devices(&machine).display()
    );
    refuses(&machine, ASKS, HOST, &line);
}
