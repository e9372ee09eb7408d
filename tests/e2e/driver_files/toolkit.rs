//! Beside NVIDIA's toolkit: its hook or runtime gives what it gives, its CDI file is taken at its word, and nothing is given
//! twice. Its programs are stand-ins that note how they were called.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{engine, machine};
use crate::support::bundle::Bundle;
use crate::support::machine::Machine;
use crate::support::process::Outcome;
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::Scratch;

/// What a container tells of its devices and of NVIDIA's libraries.
const SCRIPT: &str = "ls -d /dev/nvidia* 2>/dev/null; grep -o ' /[^ ]*libcuda[^ ]* ' /proc/self/mountinfo; \
                      echo $NVIDIA_VISIBLE_DEVICES; true";

/// A program of that name which, as a hook, notes its arguments and the variable in the config of its container.
fn noting(folder: &Scratch, name: &str) -> (PathBuf, PathBuf) {
    let notes = folder.join(format!("{name}.notes"));
    let script = format!(
        "#!/bin/sh\nbundle=$(grep -o '\"bundle\":\"[^\"]*' | cut -d'\"' -f4)\n\
         echo \"$* $(grep -o 'NVIDIA_VISIBLE_DEVICES=[^\"]*' \"$bundle/config.json\")\" >>{}\n",
        notes.display()
    );
    (folder.program(name, &script), notes)
}

fn asking() -> Bundle {
    Bundle::new()
        .annotation("mig.profile", "1g.10gb")
        .env("NVIDIA_VISIBLE_DEVICES", "all")
        .script(SCRIPT)
}

/// What NVIDIA's hook noted: it was called once, for the leased device.
#[track_caller]
fn assert_called_once(notes: &Path, outcome: &Outcome) {
    let notes = fs::read_to_string(notes).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    let lines: Vec<&str> = notes.lines().collect();
    assert_eq!(lines.len(), 1, "{notes}{outcome}");
    let uuid = lines[0]
        .split_once("NVIDIA_VISIBLE_DEVICES=")
        .map(|(_, uuid)| uuid);
    assert!(uuid.is_some_and(|uuid| uuid.starts_with("MIG-")), "{notes}");
    assert_eq!(
        outcome.stdout.trim_end(),
        uuid.unwrap_or_default(),
        "nothing but the variable: {outcome}"
    );
}

#[test]
fn what_is_left_to_nvidias_hook_is_the_variable_alone() {
    let (machine, folder) = (machine(), Scratch::new("toolkit"));
    let (hook, notes) = noting(&folder, "nvidia-container-runtime-hook");
    machine.configure_files("nvidia");
    let bundle = asking().hook("prestart", &hook, &["prestart"]).write();
    let outcome = engine(&machine).run(&bundle).ok();
    assert_called_once(&notes, &outcome);
    assert_eq!(outcome.stderr, "", "nothing is said of what was configured");
    machine.assert_free("NVIDIA's hook");
}

#[test]
fn where_nvidias_hook_comes_after_us_nothing_is_given_twice() {
    let (machine, folder) = (machine(), Scratch::new("toolkit"));
    let (hook, notes) = noting(&folder, "nvidia-container-runtime-hook");
    let bundle = asking().hook("prestart", &hook, &["prestart"]).write();
    let outcome = engine(&machine).run(&bundle).ok();
    assert_called_once(&notes, &outcome);
    let line = format!(
        "oci-mig-hook: warning: the driver's files and nodes are left to NVIDIA's toolkit: the prestart hook {} comes after oci-mig-hook, \
         and would give them a second time; say so with driver.files = \"nvidia\", or take that out of the engine's set-up\n",
        hook.display()
    );
    assert_eq!(outcome.stderr, line);
    machine.assert_free("NVIDIA's hook beside ours");
}

/// It puts its hook in itself, after us.
#[test]
fn where_nvidias_runtime_comes_after_us_nothing_is_given_twice() {
    let (machine, folder) = (machine(), Scratch::new("toolkit"));
    let real = Runtime::Runc.program();
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", real.display());
    let runtime = folder.program("nvidia-container-runtime", &script);
    let bundle = asking().write();
    machine.stand_before(&runtime);
    let engine = Engine::new(Runtime::Runc, Runtime::Runc.views()[0]);
    let outcome = engine.interposed_by(machine.config()).run(&bundle).ok();
    assert!(outcome.stdout.starts_with("MIG-"), "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("nvidia-container-runtime comes after oci-mig-hook"),
        "{outcome}"
    );
}

/// NVIDIA's hook would give more than the lease has to whoever says so in his image.
#[test]
fn what_asks_nvidias_stack_for_more_is_refused_where_that_serves() {
    let (machine, folder) = (machine(), Scratch::new("toolkit"));
    let (hook, notes) = noting(&folder, "nvidia-container-runtime-hook");
    machine.configure_files("nvidia");
    for (name, value) in [
        ("NVIDIA_IMEX_CHANNELS", "0"),
        ("NVIDIA_NVSWITCH", "enabled"),
        ("NVIDIA_GDS", "enabled"),
        ("NVIDIA_MIG_CONFIG_DEVICES", "all"),
    ] {
        let bundle = asking()
            .env(name, value)
            .hook("prestart", &hook, &["prestart"])
            .write();
        let outcome = engine(&machine).run(&bundle).failed();
        let line = format!(
            "this container can't be isolated: it has the variable {name}={value}, and with it other NVIDIA devices; "
        );
        assert!(outcome.stderr.contains(&line), "{outcome}");
        assert!(!notes.exists(), "{outcome}");
        machine.assert_free(name);
    }
    let bundle = asking().env("NVIDIA_NVSWITCH", "disabled").write();
    engine(&machine).run(&bundle).ok();
}

/// A bundle that is run again, and both doors at once: without nodes of ours there is nothing to tell it from a forged one
/// but its hooks.
#[test]
fn what_is_left_to_nvidias_hook_is_left_twice() {
    let machine = machine();
    machine.configure_files("nvidia");
    let bundle = asking().write();
    for _ in 0..2 {
        let outcome = engine(&machine).run(&bundle).ok();
        assert!(outcome.stdout.starts_with("MIG-"), "{outcome}");
    }
    machine.assert_free("twice");
    let machine = super::machine();
    machine.configure_files("nvidia");
    let runtime = Runtime::Crun;
    let podman = machine
        .podman(runtime, runtime.views()[0], &[])
        .interposed(&machine);
    let outcome = podman
        .run(
            &["--annotation=mig.profile=1g.10gb"],
            "echo $NVIDIA_VISIBLE_DEVICES",
        )
        .ok();
    assert!(outcome.stdout.starts_with("MIG-"), "{outcome}");
    machine.assert_free("both doors");
}

/// A CDI file as `nvidia-ctk cdi generate` writes it, cut down.
fn cdi(library: &Path, hook: &Path) -> String {
    format!(
        r#"---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidia-modeset
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  - NVIDIA_CTK_LIBCUDA_DIR=/usr/lib64
  hooks:
  - args:
    - nvidia-cdi-hook
    - create-symlinks
    - --link
    - libcuda.so.1::/usr/lib64/libcuda.so
    env:
    - NVIDIA_CTK_DEBUG=false
    hookName: createContainer
    path: {}
  mounts:
  - containerPath: /usr/lib64/libcuda.so.999
    hostPath: {}
    options: [ro, nosuid, nodev, rbind, rprivate]
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
kind: nvidia.com/gpu
"#,
        hook.display(),
        library.display()
    )
}

struct Cdi {
    machine: Machine,
    folder: Scratch,
    notes: PathBuf,
}

impl Cdi {
    /// With these files in its folder.
    fn with(files: impl Fn(&Path, &Path) -> Vec<(&'static str, String)>) -> Cdi {
        let (machine, folder) = (machine(), Scratch::new("cdi"));
        let (hook, notes) = noting(&folder, "nvidia-cdi-hook");
        let library = folder.join("libcuda.so.999");
        fs::write(&library, "").expect("a library");
        let specs = folder.join("specs");
        fs::create_dir(&specs).expect("a folder");
        for (name, text) in files(&library, &hook) {
            fs::write(specs.join(name), text).expect("a CDI file");
        }
        machine.configure_files("cdi");
        machine.configure("driver.cdi", &format!("[{:?}, {specs:?}]", folder.join("none")));
        Cdi {
            machine,
            folder,
            notes,
        }
    }

    #[track_caller]
    fn refuses(&self, what: &str) {
        let outcome = engine(&self.machine).run(&asking().write()).failed();
        let specs = self.folder.join("specs").display().to_string();
        let line = what
            .replace("SPECS", &specs)
            .replace("FOLDER", &self.folder.path().display().to_string());
        let remedy = "run 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml', or let the driver's files be found without it \
                      (driver.files = \"host\")";
        assert!(
            outcome
                .stderr
                .ends_with(&format!("oci-mig-hook: {line}; {remedy}\n")),
            "{outcome}"
        );
        self.machine.assert_free("refused");
    }
}

#[test]
fn nvidias_cdi_file_gives_its_common_edits_and_the_lease_gives_the_nodes() {
    let cdi = Cdi::with(|library, hook| {
        let other = "cdiVersion: 0.5.0\nkind: management.nvidia.com/gpu\ndevices: []\n".to_owned();
        vec![("a.yaml", other), ("nvidia.yaml", cdi(library, hook))]
    });
    let bundle = asking()
        .script(&format!("{SCRIPT}; echo $NVIDIA_CTK_LIBCUDA_DIR"))
        .write();
    for run in 1..=2 {
        let outcome = engine(&cdi.machine).run(&bundle).ok();
        let lines: Vec<&str> = outcome.stdout.lines().map(str::trim).collect();
        assert!(
            lines.contains(&"/dev/nvidiactl") && !lines.contains(&"/dev/nvidia-modeset"),
            "{outcome}"
        );
        assert!(lines.contains(&"/dev/nvidia0"), "the leased device's: {outcome}");
        assert_eq!(
            lines.iter().filter(|line| line.contains("libcuda")).count(),
            1,
            "{outcome}"
        );
        assert!(lines.iter().any(|line| line.starts_with("MIG-")), "{outcome}");
        assert_eq!(lines.last(), Some(&"/usr/lib64"), "{outcome}");
        let notes = fs::read_to_string(&cdi.notes).expect("its hook ran");
        assert_eq!(notes.lines().count(), run, "once for each container: {notes}");
        assert!(
            notes.starts_with("create-symlinks --link libcuda.so.1::/usr/lib64/libcuda.so"),
            "{notes}"
        );
    }
    cdi.machine.assert_free("CDI");
}

#[test]
fn what_a_cdi_file_gave_is_taken_out_again_exactly() {
    let cdi = Cdi::with(|library, hook| {
        vec![("nvidia.json", {
            let text: Value = yaml(&cdi(library, hook));
            text.to_string()
        })]
    });
    let bundle = asking();
    let before = bundle.config.clone();
    let bundle = bundle.write();
    engine(&cdi.machine).run(&bundle).ok();
    let read = || -> Value {
        serde_json::from_str(&fs::read_to_string(bundle.config_file()).expect("config.json")).expect("JSON")
    };
    let mut edited = read();
    assert_eq!(
        edited["hooks"]["createContainer"].as_array().map(Vec::len),
        Some(1)
    );
    edited["annotations"]
        .as_object_mut()
        .expect("annotations")
        .remove("mig.profile");
    fs::write(bundle.config_file(), edited.to_string()).expect("config.json");
    engine(&cdi.machine).run(&bundle).ok();
    let after = read();
    assert_eq!(after["mounts"], before["mounts"]);
    assert_eq!(after["hooks"]["createContainer"], json!([]));
    let env = after["process"]["env"].to_string();
    assert!(!env.contains("NVIDIA_"), "{env}");
}

/// The same document in JSON, which is YAML too.
fn yaml(text: &str) -> Value {
    yaml_serde::from_str(text).expect("YAML")
}

#[test]
fn a_cdi_file_that_can_not_be_used_stops_the_container() {
    Cdi::with(|_, _| Vec::new()).refuses(
        "NVIDIA has no CDI file here, and driver.files is \"cdi\": none in FOLDER/none, SPECS is of kind nvidia.com/gpu",
    );
    Cdi::with(|_, hook| vec![("nvidia.yaml", cdi("/gone/libcuda.so.1".as_ref(), hook))]).refuses(
        "the CDI file SPECS/nvidia.yaml is stale: it names /gone/libcuda.so.1, which isn't there: it is of another driver",
    );
    Cdi::with(|library, _| vec![("nvidia.yaml", cdi(library, "relative".as_ref()))])
        .refuses("can't use the CDI file SPECS/nvidia.yaml: the hook relative is not an absolute path");
    Cdi::with(|library, hook| {
        vec![(
            "nvidia.yaml",
            cdi(library, hook).replace("createContainer", "whenever"),
        )]
    })
    .refuses("can't use the CDI file SPECS/nvidia.yaml: 'whenever' is no hook that a container has");
    Cdi::with(|_, _| vec![("nvidia.yaml", "kind: [".to_owned())]).refuses_broken();
}

impl Cdi {
    #[track_caller]
    fn refuses_broken(&self) {
        let outcome = engine(&self.machine).run(&asking().write()).failed();
        let begin = format!(
            "can't use the CDI file {}",
            self.folder.join("specs/nvidia.yaml").display()
        );
        assert!(outcome.stderr.contains(&begin), "{outcome}");
        assert_eq!(outcome.stderr.lines().count(), 1, "one line: {outcome}");
    }
}

/// Neither a variable nor a hook can be given to it any more.
#[test]
fn a_container_that_exists_can_not_be_served_by_the_toolkit() {
    let machine = machine();
    let state = json!({
        "ociVersion": "1.0.2", "id": "c", "status": "creating", "pid": std::process::id(), "bundle": "/nowhere",
        "annotations": {"mig.profile": "1g.10gb"},
    });
    for (files, why) in [
        (
            "nvidia",
            "NVIDIA's hook goes by a variable, which can't be set any more",
        ),
        ("cdi", "the hooks of NVIDIA's CDI file can't be added any more"),
    ] {
        machine.configure_files(files);
        let outcome = machine.stage("createRuntime", &state.to_string());
        let line = format!(
            "oci-mig-hook: driver.files = \"{files}\" can't be done for a container that exists already: {why}; set up Podman's \
             precreate hook or oci-mig-runtime (README), or choose driver.files = \"host\"\n"
        );
        assert_eq!((outcome.code(), outcome.stderr), (3, line));
        assert_eq!(machine.leases(), 0);
    }
}
