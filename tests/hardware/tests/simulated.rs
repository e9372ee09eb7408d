//! The trial itself, tried: on simulated nodes with NVIDIA's real libraries and programs, which say in the container that
//! there is no GPU. What only a GPU can show is judged from words in `judge`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake_node::{NodeSpec, Scratch, nodes_dir};

const HARDWARE: &str = env!("CARGO_BIN_EXE_hardware");

/// The folder with all programs.
fn programs() -> &'static Path {
    let programs = Path::new(HARDWARE).parent().expect("a folder");
    assert!(
        programs.join("oci-mig-runtime").exists(),
        "oci-mig-runtime isn't built: cargo build --workspace"
    );
    programs
}

/// The real driver's root, fetched where it isn't here yet, and its version.
fn driver() -> (PathBuf, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../setup.d/real-driver");
    let output = Command::new(script).output().expect("tests/setup.d/real-driver");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let root = PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim()).join("root");
    let libraries = fs::read_dir(root.join("usr/lib/x86_64-linux-gnu/nvidia/current")).expect("libraries");
    let names = libraries.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name")
    });
    let versions = names.filter_map(|name| name.strip_prefix("libcuda.so.").map(str::to_owned));
    let version = versions.max_by_key(String::len).expect("libcuda with a version");
    (root, version)
}

/// One of tests/nodes with that driver's files, and runc.
fn node(name: &str) -> Scratch {
    let (root, version) = driver();
    let spec = NodeSpec::read(&nodes_dir().join(format!("{name}.json"))).expect("a node");
    let node = Scratch::up_spec(&NodeSpec {
        driver: Some(version),
        ..spec
    });
    let node = node.expect("a node: run the tests as root");
    let text = fs::read_to_string(node.config()).expect("config.toml");
    let lines = text.lines().map(|line| match line {
        line if line.starts_with("files = ") => "files = \"host\"\n".to_owned(),
        line if line.starts_with("root = ") => format!("root = {root:?}\n"),
        line => format!("{line}\n"),
    });
    let runtime = "\n[runtime]\npath = \"/usr/sbin/runc\"\n";
    fs::write(node.config(), lines.collect::<String>() + runtime).expect("config.toml");
    node
}

fn tried(node: &Scratch, more: &[&str]) -> Output {
    assert!(
        Path::new("/usr/sbin/runc").exists(),
        "no runc: apt-get install runc"
    );
    let mut command = Command::new(HARDWARE);
    command
        .arg("--programs")
        .arg(programs())
        .arg("--config")
        .arg(node.config());
    command
        .arg("--nvml")
        .arg(node.library())
        .args(["--rounds", "2"])
        .args(more);
    command.output().expect("the program")
}

#[track_caller]
fn text(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn a_mig_device_first_and_a_whole_gpu_where_there_is_none() {
    for (name, profile) in [("one-gpu", "3g.40gb"), ("mig-off", "gpu")] {
        let node = node(name);
        let said = text(&tried(&node, &["--without-gpu"]));
        let took = said
            .lines()
            .find(|line| line.starts_with("takes "))
            .expect("a device");
        assert!(took.ends_with(&format!(" ({profile}) on GPU 0")), "{said}");
        assert!(
            said.contains("without a GPU: nvidia-smi and CUDA start in a container"),
            "{said}"
        );
        assert!(said.contains("\ngiven back: "), "{said}");
        for cost in [
            "NVML, init attaches all: init ",
            "NVML, init NO_ATTACH: handle by UUID of the GPU ",
            "the walk of all devices, its process included ",
            "the whole reservation (precreate) ",
            "giving it back (poststop) ",
        ] {
            assert_eq!(
                said.lines().filter(|line| line.starts_with(cost)).count(),
                1,
                "{cost}: {said}"
            );
        }
        let of_mig = said.matches(": handle by UUID of the MIG device ").count();
        assert_eq!(of_mig, if profile == "gpu" { 0 } else { 2 }, "{said}");
        let leases = fs::read_dir(node.dir().join("run/leases"))
            .expect("leases")
            .count();
        assert_eq!(leases, 0);
    }
}

/// On a machine with a GPU that doesn't answer, the trial fails, and gives back what it took.
#[test]
fn a_gpu_that_does_not_compute_fails_it() {
    let node = node("mig-off");
    let output = tried(&node, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nvidia-smi in a container: ") && said.contains("NVIDIA-SMI has failed"),
        "{said}"
    );
    assert_eq!(
        fs::read_dir(node.dir().join("run/leases"))
            .expect("leases")
            .count(),
        0
    );
}

#[test]
fn what_can_not_be_tried_is_said() {
    let node = node("mig-off");
    for uuid in node.whole_gpus().expect("GPUs").into_iter().map(|gpu| gpu.uuid) {
        node.set(&[&format!("process={uuid}:{}", std::process::id())])
            .expect("a process");
    }
    let output = tried(&node, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no device is free: end what uses them"), "{said}");
    for (args, why) in [
        (&["--rounds"][..], "wants a value"),
        (&["--nonsense", "1"], "there is no \"--nonsense\""),
        (&["--config", "/x", "--runtime", "/y"], "leave --runtime out"),
    ] {
        let output = Command::new(HARDWARE).args(args).output().expect("the program");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(why), "{said}");
    }
}
