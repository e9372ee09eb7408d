//! What a container with a device of its own has, and that it has no more.

use fake_node::{Device, WholeGpu};

use super::machine::Machine;
use super::probe::{Answer, Probe, Seen};

/// A node: path, major and minor, and whether its container may write.
pub type Node = (String, u32, u32, bool);

impl Machine {
    /// The device of this profile, the first where there are more.
    #[track_caller]
    pub fn device(&self, profile: &str) -> Device {
        let devices = self.devices().expect("the node's devices").into_iter();
        let mut wanted = devices.filter(|device| device.profile == profile);
        wanted
            .next()
            .unwrap_or_else(|| panic!("no {profile} on this machine"))
    }

    /// Every capability that is not this device's own, with config (1) and monitor (2).
    pub fn foreign(&self, own: &Device) -> Vec<u32> {
        let devices = self.devices().expect("the node's devices");
        let all = devices
            .iter()
            .flat_map(|device| [device.gi_minor, device.ci_minor])
            .chain([1, 2]);
        all.filter(|minor| ![own.gi_minor, own.ci_minor].contains(minor))
            .collect()
    }

    /// The nodes that a container with this device must have.
    pub fn nodes_of(&self, device: &Device) -> Vec<Node> {
        let [gpu, caps, uvm] = ["nvidia", "nvidia-caps", "nvidia-uvm"].map(|name| self.number(name));
        let cap = |minor| (format!("/dev/nvidia-caps/nvidia-cap{minor}"), caps, minor, false);
        vec![
            ("/dev/nvidiactl".to_owned(), gpu, 255, true),
            ("/dev/nvidia-uvm".to_owned(), uvm, 0, true),
            ("/dev/nvidia-uvm-tools".to_owned(), uvm, 1, true),
            (
                format!("/dev/nvidia{}", device.gpu_minor),
                gpu,
                device.gpu_minor,
                true,
            ),
            cap(device.gi_minor),
            cap(device.ci_minor),
        ]
    }

    /// What a container tries that was given `own`: its own nodes, and to make and open everyone else's.
    pub fn probe(&self, own: &Device) -> Probe {
        let caps = self.number("nvidia-caps");
        let probe = tries(&self.nodes_of(own));
        self.foreign(own).into_iter().fold(probe, |probe, minor| {
            probe.makes(&format!("cap{minor}"), caps, minor)
        })
    }

    /// The GPU of that NVML index, which is not in MIG mode.
    #[track_caller]
    pub fn whole_gpu(&self, index: u32) -> WholeGpu {
        let mut gpus = self.whole_gpus().expect("the node's GPUs").into_iter();
        let found = gpus.find(|gpu| gpu.index == index);
        found.unwrap_or_else(|| panic!("GPU {index} is not whole on this machine"))
    }

    /// The nodes that a container with this whole GPU must have: no capability is among them.
    pub fn nodes_of_whole(&self, gpu: &WholeGpu) -> Vec<Node> {
        let [major, uvm] = ["nvidia", "nvidia-uvm"].map(|name| self.number(name));
        vec![
            ("/dev/nvidiactl".to_owned(), major, 255, true),
            ("/dev/nvidia-uvm".to_owned(), uvm, 0, true),
            ("/dev/nvidia-uvm-tools".to_owned(), uvm, 1, true),
            (format!("/dev/nvidia{}", gpu.minor), major, gpu.minor, true),
        ]
    }

    /// Every other GPU, whole or not, and every capability: name, major and minor.
    fn foreign_to_whole(&self, own: &WholeGpu) -> Vec<(String, u32, u32)> {
        let [major, caps] = ["nvidia", "nvidia-caps"].map(|name| self.number(name));
        let gpus = self.state().expect("a state").gpus.into_iter();
        let gpus = gpus.map(|gpu| gpu.minor).filter(|minor| *minor != own.minor);
        let devices = self.devices().expect("the node's devices").into_iter();
        let all_caps = devices.flat_map(|device| [device.gi_minor, device.ci_minor]);
        let gpus = gpus.map(|minor| (format!("gpu{minor}"), major, minor));
        let all_caps = all_caps
            .chain([1, 2])
            .map(|minor| (format!("cap{minor}"), caps, minor));
        gpus.chain(all_caps).collect()
    }

    /// As [`Machine::probe`], for a whole GPU.
    pub fn probe_whole(&self, own: &WholeGpu) -> Probe {
        let foreign = self.foreign_to_whole(own).into_iter();
        foreign.fold(tries(&self.nodes_of_whole(own)), |probe, (name, major, minor)| {
            probe.makes(&name, major, minor)
        })
    }

    /// As [`Machine::assert_isolated`], for a whole GPU.
    #[track_caller]
    pub fn assert_has_whole(&self, seen: &Seen, own: &WholeGpu, can_make: bool, who: &str) {
        assert_own_nodes(seen, self.nodes_of_whole(own), who);
        for (name, ..) in self.foreign_to_whole(own) {
            assert_foreign(seen, &name, can_make, who);
        }
    }

    /// The container has exactly its own nodes, may use them, and may use nobody else's. `can_make`: it may make
    /// nodes, so that the device rules are all that stands between it and them.
    #[track_caller]
    pub fn assert_isolated(&self, seen: &Seen, own: &Device, can_make: bool, who: &str) {
        assert_own_nodes(seen, self.nodes_of(own), who);
        for minor in self.foreign(own) {
            assert_foreign(seen, &format!("cap{minor}"), can_make, who);
        }
    }

    pub fn number(&self, name: &str) -> u32 {
        self.major(name).expect("a major")
    }
}

fn tries(nodes: &[Node]) -> Probe {
    nodes
        .iter()
        .fold(Probe::new(), |probe, (path, _, _, writes)| match writes {
            true => probe.writes(path),
            false => probe.reads(path),
        })
}

#[track_caller]
fn assert_own_nodes(seen: &Seen, own: Vec<Node>, who: &str) {
    let mut nodes = seen.nodes();
    for (path, major, minor, writes) in own {
        let (found_major, found_minor, _) = nodes
            .remove(path.as_str())
            .unwrap_or_else(|| panic!("{who}: no {path}: {seen:?}"));
        assert_eq!((found_major, found_minor), (major, minor), "{who}: {path}");
        let answer = if writes {
            seen.writes(&path)
        } else {
            seen.reads(&path)
        };
        assert_eq!(answer, Answer::NoDriver, "{who}: {path}: {seen:?}");
    }
    assert!(nodes.is_empty(), "{who}: nodes of others: {nodes:?}");
}

#[track_caller]
fn assert_foreign(seen: &Seen, name: &str, can_make: bool, who: &str) {
    let (made, opened) = seen.makes(name);
    match can_make {
        true => assert_eq!(
            (made, opened),
            (Answer::Done, Answer::NotPermitted),
            "{who}: {name}: {seen:?}"
        ),
        false => assert_eq!(made, Answer::NotPermitted, "{who}: {name}: {seen:?}"),
    }
}
