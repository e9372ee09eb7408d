//! What of the driver goes into a container, and where: its files as they were found on the host, what the container's
//! environment asks of them, and how its root file system is laid out.

mod capability;
mod layout;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Mount, MountKind};
pub use capability::{Capabilities, Capability, VARIABLE};
pub use layout::{Layout, Libc, TRIPLE, TRIPLE_32};

/// A file of the driver's, as it was found on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriverFile {
    /// The capabilities that bring it in: any one of them.
    pub for_any: Capabilities,
    /// Where a container has it.
    pub place: Place,
    /// Where it really lies on the host.
    pub host_path: PathBuf,
}

impl DriverFile {
    /// Whether it is a library, of any kind.
    pub fn is_library(&self) -> bool {
        matches!(self.place, Place::Libraries(_) | Place::Libraries32(_))
    }
}

/// Where a container has one of the driver's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the folder of its libraries, under each of these names: that with the driver's version, and those that programs
    /// and the loader ask for. Nothing is a link, so no loader cache needs to know of it.
    Libraries(Vec<String>),
    /// The same in the folder of its 32-bit libraries.
    Libraries32(Vec<String>),
    /// In /usr/bin.
    Programs(String),
    /// At this path.
    At(PathBuf),
    /// A socket, or a folder of sockets, at this path.
    Socket(PathBuf),
}

/// The folder of programs, in every layout.
const PROGRAMS: &str = "/usr/bin";

/// Without which library a capability is worth nothing.
const ESSENTIAL: [(Capability, &str); 2] = [
    (Capability::Compute, "libcuda"),
    (Capability::Utility, "libnvidia-ml"),
];

/// The library that something of `asked` can't do without, and `files` lack.
pub fn lacking(files: &[DriverFile], asked: Capabilities) -> Option<&'static str> {
    let has = |library: &str| {
        let names = files.iter().filter_map(|file| match &file.place {
            Place::Libraries(names) => Some(names),
            _ => None,
        });
        let is_it = |name: &String| {
            name.strip_prefix(library)
                .is_some_and(|rest| rest.starts_with(".so"))
        };
        names.flatten().any(is_it)
    };
    let mut needed = ESSENTIAL.iter().filter(|(capability, _)| asked.has(*capability));
    needed
        .find(|(_, library)| !has(library))
        .map(|(_, library)| *library)
}

/// What a container with `layout` that asked for `asked` is given of `files`.
pub fn mounts(files: &[DriverFile], asked: Capabilities, layout: &Layout) -> Vec<Mount> {
    let wanted = files.iter().filter(|file| file.for_any.meet(asked));
    wanted.flat_map(|file| of_file(file, asked, layout)).collect()
}

fn of_file(file: &DriverFile, asked: Capabilities, layout: &Layout) -> Vec<Mount> {
    let mount = |path: PathBuf, kind| Mount {
        path,
        host_path: file.host_path.clone(),
        kind,
    };
    let under_each = |folders: &[PathBuf], names: &[String]| {
        let in_each = folders
            .iter()
            .flat_map(|folder| names.iter().map(move |name| folder.join(name)));
        in_each.map(|path| mount(path, MountKind::File)).collect()
    };
    match &file.place {
        Place::Libraries(names) => under_each(&layout.libraries, names),
        Place::Libraries32(names) if asked.has(Capability::Compat32) => {
            under_each(&layout.libraries_32, names)
        }
        Place::Libraries32(_) => Vec::new(),
        Place::Programs(name) => vec![mount(Path::new(PROGRAMS).join(name), MountKind::File)],
        Place::At(path) => vec![mount(path.clone(), MountKind::File)],
        Place::Socket(path) => vec![mount(path.clone(), MountKind::Socket)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(for_any: &[Capability], place: Place) -> DriverFile {
        DriverFile {
            for_any: for_any.iter().copied().collect(),
            place,
            host_path: "/host/file".into(),
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn files() -> Vec<DriverFile> {
        use Capability::{Compute, Utility};
        vec![
            file(
                &[Compute],
                Place::Libraries(names(&["libcuda.so.1.2", "libcuda.so.1"])),
            ),
            file(&[Compute], Place::Libraries32(names(&["libcuda.so.1.2"]))),
            file(&[Utility], Place::Programs("nvidia-smi".into())),
            file(
                &[Compute, Utility],
                Place::At("/lib/firmware/nvidia/1.2/gsp.bin".into()),
            ),
            file(&[Utility], Place::Socket("/run/x/socket".into())),
        ]
    }

    fn given(asked: &str) -> Vec<String> {
        let asked = asked.parse().unwrap();
        let mounts = mounts(&files(), asked, &Layout::unknown());
        mounts
            .iter()
            .map(|mount| mount.path.display().to_string())
            .collect()
    }

    #[test]
    fn a_file_comes_with_any_of_its_capabilities() {
        assert_eq!(
            given("utility"),
            [
                "/usr/bin/nvidia-smi",
                "/lib/firmware/nvidia/1.2/gsp.bin",
                "/run/x/socket"
            ]
        );
        assert_eq!(given("display"), [""; 0]);
        // 32-bit libraries are those of the others that were asked for.
        assert_eq!(given("utility,compat32"), given("utility"));
        assert_eq!(given("compute,compat32").len(), given("compute").len() + 1);
        assert_eq!(given("all").len(), 2 * 2 + 1 + 3);
    }

    #[test]
    fn a_capability_without_its_library_is_told_of() {
        let files = files();
        assert_eq!(lacking(&files, "compute,video".parse().unwrap()), None);
        assert_eq!(lacking(&files, "utility".parse().unwrap()), Some("libnvidia-ml"));
        assert_eq!(lacking(&files[1..], Capabilities::USUAL), Some("libcuda"));
        assert_eq!(lacking(&files[1..], "graphics".parse().unwrap()), None);
    }

    #[test]
    fn a_socket_alone_can_be_written() {
        let mounts = mounts(&files(), Capabilities::ALL, &Layout::unknown());
        let sockets = mounts.iter().filter(|mount| mount.kind == MountKind::Socket);
        assert_eq!(sockets.count(), 1);
    }
}
