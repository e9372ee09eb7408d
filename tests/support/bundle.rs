//! A bundle: a folder with the config.json that a runtime takes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{rootfs, scratch, scratch::Scratch};

/// The first host id of the range that user namespaces of the tests map to 0, and how many.
pub const FIRST_ID: u32 = 200_000;
const IDS: u32 = 65_536;

/// A bundle under construction; [`Bundle::write`] puts it on disk. What it asks for is what `runc spec` asks for,
/// without rlimits (a machine may forbid raising them) and with a writable /tmp that takes device nodes.
#[derive(Debug)]
pub struct Bundle {
    folder: Scratch,
    id: String,
    pub config: Value,
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

impl Bundle {
    /// A container that runs `true` in the shared root filesystem, with all devices denied.
    pub fn new() -> Self {
        let id = format!("omh-{}-{}", std::process::id(), scratch::number());
        let mut config = template();
        config["root"]["path"] = json!(rootfs::shared());
        config["linux"]["cgroupsPath"] = json!(cgroups_path(&id));
        Self {
            folder: Scratch::new("bundle"),
            id,
            config,
        }
    }

    /// The name that is this container's wherever it needs one.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// The command of the container's first process.
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.config["process"]["args"] = json!(args.into_iter().collect::<Vec<_>>());
        self
    }

    /// The first process is a shell with this script.
    pub fn script(self, script: &str) -> Self {
        self.args(["sh", "-c", script])
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.config["annotations"][key] = json!(value);
        self
    }

    /// A variable of the image's.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        push(
            &mut self.config["process"]["env"],
            json!(format!("{name}={value}")),
        );
        self
    }

    /// Another hook of this stage: `createRuntime`, `poststop` and so on; `argv` without argv\[0\].
    pub fn hook(mut self, stage: &str, program: &Path, argv: &[&str]) -> Self {
        let args: Vec<_> = std::iter::once(program.to_str().expect("a path of ours"))
            .chain(argv.iter().copied())
            .collect();
        push(
            &mut self.config["hooks"][stage],
            json!({"path": program, "args": args, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}),
        );
        self
    }

    /// The first process is this user of the container, with the capabilities of a plain user: none.
    pub fn user(mut self, uid: u32) -> Self {
        self.config["process"]["user"] = json!({"uid": uid, "gid": uid});
        for set in ["effective", "permitted", "inheritable", "ambient"] {
            self.config["process"]["capabilities"][set] = json!([]);
        }
        self
    }

    /// One capability more, such as `CAP_MKNOD`; also for a user that is not root.
    pub fn capability(mut self, name: &str) -> Self {
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            push(&mut self.config["process"]["capabilities"][set], json!(name));
        }
        self
    }

    /// A user namespace, in which root is [`FIRST_ID`].
    pub fn user_namespace(mut self) -> Self {
        push(&mut self.config["linux"]["namespaces"], json!({"type": "user"}));
        let map = json!([{"containerID": 0, "hostID": FIRST_ID, "size": IDS}]);
        self.config["linux"]["uidMappings"] = map.clone();
        self.config["linux"]["gidMappings"] = map;
        // Another user namespace may not mount the host's sysfs anew unless it has a network namespace of its own:
        // it has. Group 5 of the host (devpts' gid=5) is mapped, so nothing else changes.
        self
    }

    /// The container shares the host's process ids.
    pub fn without_pid_namespace(mut self) -> Self {
        let namespaces = self.config["linux"]["namespaces"]
            .as_array_mut()
            .expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "pid");
        self
    }

    /// All that an engine's `--privileged` means for devices and capabilities.
    pub fn privileged(mut self) -> Self {
        self.config["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
        self.capability("CAP_SYS_ADMIN").capability("CAP_MKNOD")
    }

    /// A device of the spec's own: its node, and a rule that allows it.
    pub fn device(mut self, path: &str, major: u32, minor: u32, access: &str) -> Self {
        let node = json!({"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0});
        push(&mut self.config["linux"]["devices"], node);
        self.rule(major, minor, access)
    }

    /// A rule that allows a device.
    pub fn rule(mut self, major: u32, minor: u32, access: &str) -> Self {
        let rule = json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": access});
        push(&mut self.config["linux"]["resources"]["devices"], rule);
        self
    }

    /// A bind mount of a path of the host.
    pub fn bind(mut self, source: &Path, destination: &str) -> Self {
        let mount =
            json!({"destination": destination, "type": "bind", "source": source, "options": ["bind", "rw"]});
        push(&mut self.config["mounts"], mount);
        self
    }

    /// The root filesystem at `path` instead of the shared one, writable.
    pub fn rootfs(mut self, path: &Path) -> Self {
        self.config["root"] = json!({"path": path, "readonly": false});
        self
    }

    /// It may make any node, as engines let containers: the rules on opening are all that stands before it.
    pub fn makes_nodes(self) -> Self {
        self.capability("CAP_MKNOD").with(|config| {
            let rules = &mut config["linux"]["resources"]["devices"];
            push(rules, json!({"allow": true, "type": "c", "access": "m"}));
        })
    }

    /// Any other change.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Puts config.json on disk, as it now is.
    pub fn write(self) -> Self {
        let text = serde_json::to_string_pretty(&self.config).expect("JSON");
        fs::write(self.config_file(), text).expect("config.json");
        self
    }
}

/// The control group of the container with this id.
pub fn cgroups_path(id: &str) -> String {
    format!("/{}/{id}", scratch::name())
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

fn template() -> Value {
    let capabilities = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/bin", "TERM=dumb"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                "inheritable": [], "ambient": []
            },
            "rlimits": [],
            "noNewPrivileges": true
        },
        "root": {"path": "", "readonly": true},
        "hostname": "container",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777", "size=1024k"]}
        ],
        "linux": {
            "cgroupsPath": "",
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys"],
            "readonlyPaths": ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}
