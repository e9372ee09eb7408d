//! Images that lay traps where our nodes go: links out of the root filesystem, links to the host's volumes, fifos,
//! loops. Nothing outside the container changes, and the container has its own device or none.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use super::{bundle, isolated, refused};
use crate::support::bundle::{Bundle, FIRST_ID};
use crate::support::cgroups::View;
use crate::support::machine::Machine;
use crate::support::process::run;
use crate::support::rootfs;
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::Scratch;

/// A root filesystem of the image's own, and folders of the host that it would like to reach.
struct Place {
    machine: Machine,
    engine: Engine,
    rootfs: Scratch,
    host: Scratch,
    user_namespace: bool,
    who: String,
}

impl Place {
    /// Tells the story on every runtime, as root and in a user namespace. Paths don't depend on control groups: one
    /// view of them is enough.
    fn each(story: impl Fn(&Place)) {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let view = View::V2;
            for user_namespace in [false, true] {
                let place = Place {
                    machine: Machine::named("one-gpu"),
                    engine: Engine::new(runtime, view),
                    rootfs: rootfs::own(),
                    host: Scratch::new("host"),
                    user_namespace,
                    who: format!("{runtime} {view} user namespace: {user_namespace}"),
                };
                place.host.file("file", "the host's\n");
                place.host.file("folder/nvidiactl", "the host's too\n");
                story(&place);
            }
        }
    }

    fn dev(&self, name: &str) -> std::path::PathBuf {
        self.rootfs.join("dev").join(name)
    }

    /// A container whose /dev is the image's, with no file system of the runtime's over it.
    fn bundle(&self) -> Bundle {
        let bundle = bundle(&self.machine, "createRuntime").rootfs(self.rootfs.path());
        let bundle = bundle.with(|config| {
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| {
                !mount["destination"]
                    .as_str()
                    .is_some_and(|path| path.starts_with("/dev"))
            });
        });
        if !self.user_namespace {
            return bundle;
        }
        for path in ["", "dev"] {
            chown(self.rootfs.join(path), Some(FIRST_ID), Some(FIRST_ID)).expect("chown");
        }
        bundle.user_namespace()
    }

    /// It is served all the same, and nothing of the host's changes.
    fn served(&self, change: impl FnOnce(Bundle) -> Bundle) {
        let before = look(self.host.path());
        let can_make = !self.user_namespace;
        isolated(
            &self.machine,
            &self.engine,
            change(self.bundle()),
            can_make,
            &self.who,
        );
        assert_eq!(look(self.host.path()), before, "{}", self.who);
    }

    /// It is refused in these words, and nothing of the host's changes.
    fn refused(&self, words: &str, change: impl FnOnce(Bundle) -> Bundle) {
        let before = look(self.host.path());
        refused(
            &self.machine,
            &self.engine,
            change(self.bundle()),
            words,
            &self.who,
        );
        assert_eq!(look(self.host.path()), before, "{}", self.who);
    }
}

/// Everything at and below `path`: kind and mode, owner, device number, contents.
fn look(path: &Path) -> BTreeMap<String, (u32, u32, u64, Vec<u8>)> {
    let found = fs::symlink_metadata(path).expect("it is there");
    let contents = match found.is_file() {
        true => fs::read(path).expect("a file of ours"),
        false => Vec::new(),
    };
    let own = (found.mode(), found.uid(), found.rdev(), contents);
    let mut all = BTreeMap::from([(path.display().to_string(), own)]);
    if found.is_dir() {
        for entry in fs::read_dir(path).expect("a folder of ours") {
            all.extend(look(&entry.expect("an entry").path()));
        }
    }
    all
}

fn unchanged(bundle: Bundle) -> Bundle {
    bundle
}

#[test]
fn a_folder_of_nodes_that_links_to_a_folder_of_the_host() {
    Place::each(|place| {
        symlink(place.host.join("folder"), place.dev("nvidia-caps")).expect("a link");
        place.served(unchanged);
    });
}

#[test]
fn a_folder_of_nodes_that_climbs_out_of_the_root() {
    Place::each(|place| {
        let up = format!("{}{}", "../".repeat(20), place.host.join("folder").display());
        symlink(up, place.dev("nvidia-caps")).expect("a link");
        place.served(unchanged);
    });
}

/// /proc is mounted when the hook runs, and its links lead where no path does.
#[test]
fn a_folder_of_nodes_that_goes_through_proc() {
    Place::each(|place| {
        let through = format!("/proc/self/root{}", place.host.join("folder").display());
        symlink(through, place.dev("nvidia-caps")).expect("a link");
        place.served(unchanged);
    });
}

#[test]
fn a_folder_of_nodes_that_links_to_itself() {
    Place::each(|place| {
        symlink("nvidia-caps", place.dev("nvidia-caps")).expect("a link");
        place.served(unchanged);
    });
}

#[test]
fn nodes_that_are_links_files_fifos_and_folders() {
    Place::each(|place| {
        symlink(place.host.join("file"), place.dev("nvidiactl")).expect("a link");
        symlink("/etc/passwd", place.dev("nvidia-uvm")).expect("a link");
        // Who opens a fifo waits for the other end.
        run(Command::new("mkfifo").arg(place.dev("nvidia-uvm-tools"))).ok();
        fs::create_dir(place.dev("nvidia0")).expect("a folder");
        fs::write(place.dev("nvidia-caps"), "no folder").expect("a file");
        let passwd = look(&place.rootfs.join("etc/passwd"));
        place.served(unchanged);
        assert_eq!(look(&place.rootfs.join("etc/passwd")), passwd, "{}", place.who);
    });
}

/// A hard link is the host's file under another name: it is taken away here and stays as it is there.
#[test]
fn a_node_that_is_a_hard_link_to_a_file_of_the_host() {
    Place::each(|place| {
        fs::hard_link(place.host.join("file"), place.dev("nvidiactl")).expect("a hard link");
        place.served(unchanged);
    });
}

#[test]
fn a_folder_with_something_in_it_in_a_nodes_place() {
    Place::each(|place| {
        fs::create_dir_all(place.dev("nvidiactl/full")).expect("a folder");
        place.refused(
            "can't put /dev/nvidiactl into the container: unlinkat in ",
            unchanged,
        );
    });
}

/// A volume is a folder of the host's, whatever leads there.
#[test]
fn a_folder_of_nodes_that_is_a_volume_or_links_to_one() {
    Place::each(|place| {
        let volume = place.host.join("folder");
        let words = "can't put /dev/nvidia-caps/nvidia-cap";
        place.refused(words, |bundle| bundle.bind(&volume, "/dev/nvidia-caps"));
    });
    Place::each(|place| {
        let volume = place.host.join("folder");
        symlink("/data", place.dev("nvidia-caps")).expect("a link");
        let words = "can't put /dev/nvidia-caps/nvidia-cap";
        place.refused(words, |bundle| bundle.bind(&volume, "/data"));
    });
}

/// runc 1.1.5 itself makes its usual links (`fd`, `stdin`) in the host's folder then, and crun makes no container.
/// Nothing of ours is added to what happens without us.
#[test]
fn a_dev_that_links_to_a_folder_of_the_host() {
    Place::each(|place| {
        fs::remove_dir(place.rootfs.join("dev")).expect("an empty folder");
        symlink(place.host.join("folder"), place.rootfs.join("dev")).expect("a link");
        place
            .engine
            .run(&Bundle::new().rootfs(place.rootfs.path()).write());
        let before = look(place.host.path());
        let bundle = bundle(&place.machine, "createRuntime").rootfs(place.rootfs.path());
        place.engine.run(&bundle.write());
        assert_eq!(look(place.host.path()), before, "{}", place.who);
        place.machine.assert_free(&place.who);
    });
}
