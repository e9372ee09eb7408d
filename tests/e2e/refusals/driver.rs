//! The driver and its library are not as they should be.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{ASKS, HOST, assert_says, config, refuses, serves};
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
