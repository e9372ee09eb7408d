//! What a container with a device of its own has, and that it has no more.

use fake_node::Device;

use super::machine::Machine;
use super::probe::{Answer, Probe, Seen};

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

    /// The nodes that a container with this device must have: path, major and minor, and whether it may write.
    pub fn nodes_of(&self, device: &Device) -> Vec<(String, u32, u32, bool)> {
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
        let mut probe = Probe::new();
        for (path, _, _, writes) in self.nodes_of(own) {
            probe = if writes {
                probe.writes(&path)
            } else {
                probe.reads(&path)
            };
        }
        self.foreign(own).into_iter().fold(probe, |probe, minor| {
            probe.makes(&format!("cap{minor}"), caps, minor)
        })
    }

    /// The container has exactly its own nodes, may use them, and may use nobody else's. `can_make`: it may make
    /// nodes, so that the device rules are all that stands between it and them.
    #[track_caller]
    pub fn assert_isolated(&self, seen: &Seen, own: &Device, can_make: bool, who: &str) {
        let mut nodes = seen.nodes();
        for (path, major, minor, writes) in self.nodes_of(own) {
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
        for minor in self.foreign(own) {
            let (made, opened) = seen.makes(&format!("cap{minor}"));
            match can_make {
                true => assert_eq!(
                    (made, opened),
                    (Answer::Done, Answer::NotPermitted),
                    "{who}: cap {minor}: {seen:?}"
                ),
                false => assert_eq!(made, Answer::NotPermitted, "{who}: cap {minor}: {seen:?}"),
            }
        }
    }

    pub fn number(&self, name: &str) -> u32 {
        self.major(name).expect("a major")
    }
}
