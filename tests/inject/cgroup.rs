//! What lives in control groups, on this kernel's own hierarchies.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use oci_mig_hook::cgroup::{CgroupPath, Mounts, Population, of_process};

/// A group made for one test, below the test's own; gone afterwards.
struct Group {
    group: CgroupPath,
    directory: PathBuf,
}

impl Group {
    /// One in each hierarchy that is mounted here.
    fn everywhere(name: &str) -> Vec<Group> {
        let mounts = Mounts::read().unwrap();
        let own = of_process(std::process::id() as i32).unwrap();
        let groups: Vec<Group> = own
            .into_iter()
            .filter_map(|parent| Group::below(&mounts, parent, name))
            .collect();
        assert!(!groups.is_empty(), "no control group hierarchy is mounted here");
        groups
    }

    fn below(mounts: &Mounts, mut group: CgroupPath, name: &str) -> Option<Group> {
        // A process can join a new cpuset only once it has been given CPUs: not this test's matter.
        if group.has_controller("cpuset") {
            return None;
        }
        let slash = if group.path.ends_with('/') { "" } else { "/" };
        group.path = format!("{}{slash}oci-mig-hook-{name}-{}", group.path, std::process::id());
        let directory = mounts.directory(&group)?;
        std::fs::create_dir(&directory).unwrap();
        Some(Group { group, directory })
    }

    fn population(&self) -> Population {
        Mounts::read().unwrap().population(&self.group, None)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(self.directory.join("below"));
        let _ = std::fs::remove_dir(&self.directory);
    }
}

/// A process that sleeps until its stdin closes, reaped when dropped.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Sleeper {
        Sleeper(
            Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Ends it without reaping it.
    fn becomes_a_zombie(&mut self) {
        drop(self.0.stdin.take());
        while !std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))
            .unwrap()
            .contains(") Z ")
        {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_in_the_subtree_populates_it_and_a_zombie_does_not() {
    for group in Group::everywhere("population") {
        let name = &group.group;
        assert_eq!(group.population(), Population::Empty, "{name:?}");
        let below = group.directory.join("below");
        std::fs::create_dir(&below).unwrap();
        let mut sleeper = Sleeper::start();
        std::fs::write(below.join("cgroup.procs"), sleeper.pid().to_string()).unwrap();
        assert_eq!(group.population(), Population::Populated, "{name:?}");
        let joined = of_process(sleeper.pid()).unwrap();
        assert!(
            joined
                .iter()
                .any(|found| found.path == format!("{}/below", name.path)),
            "{joined:?}"
        );
        let besides = |pid| Mounts::read().unwrap().population(&group.group, Some(pid));
        assert_eq!(besides(sleeper.pid()), Population::Empty, "{name:?}");
        assert_eq!(besides(sleeper.pid() + 1), Population::Populated, "{name:?}");
        sleeper.becomes_a_zombie();
        assert_eq!(group.population(), Population::Empty, "{name:?}");
    }
}

#[test]
fn what_does_not_exist_is_empty_and_what_is_not_mounted_is_unknown() {
    for group in Group::everywhere("missing") {
        std::fs::remove_dir(&group.directory).unwrap();
        assert_eq!(group.population(), Population::Empty, "{:?}", group.group);
    }
    let unmounted = CgroupPath {
        controllers: "name=nobody-mounts-this".to_owned(),
        path: "/x".to_owned(),
    };
    assert_eq!(
        Mounts::read().unwrap().population(&unmounted, None),
        Population::Unknown
    );
}
