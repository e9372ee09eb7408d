//! The driver's files, looked for below its root: those of its own version, for this machine.

use std::collections::HashSet;
use std::hash::Hash;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::elf::{self, Bits};
use super::ld_cache;
use super::root::{Found, Root};
use super::table::Table;
use crate::edits::driver::{Capabilities, Capability, DriverFile, Place, TRIPLE, TRIPLE_32};

/// The dynamic loader's cache.
pub const LOADER_CACHE: &str = "/etc/ld.so.cache";

/// Folders in which the driver's programs lie: the usual ones, and Debian's own.
const PROGRAM_FOLDERS: [&str; 7] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/bin",
    "/sbin",
    "/usr/lib/nvidia/current",
];

/// A program that says its version says it within this.
const LARGEST_PROGRAM: u64 = 64 << 20;

/// A loader's cache of a hundred thousand libraries is smaller.
const LARGEST_CACHE: u64 = 16 << 20;

/// Looks for files of one driver.
pub struct Search<'a> {
    /// Where.
    pub root: &'a Root,
    /// For what.
    pub table: &'a Table,
    /// The driver's version: `550.54.15`.
    pub version: &'a str,
}

/// Where is looked.
pub struct Folders {
    /// Folders of libraries.
    libraries: Vec<PathBuf>,
    /// Every folder, and the loader's cache: while these are as they were, so are the files.
    pub looked_at: Vec<PathBuf>,
}

impl Search<'_> {
    /// Where to look.
    pub fn folders(&self) -> Folders {
        let libraries = self.library_folders();
        let configuration = self.table.files();
        let configuration = configuration
            .iter()
            .filter_map(|(path, _)| Path::new(*path).parent());
        let programs = PROGRAM_FOLDERS.iter().map(Path::new);
        let firmware = self.firmware_folder();
        let others = [Path::new(LOADER_CACHE), firmware.as_path()];
        let others = others
            .into_iter()
            .chain(programs)
            .chain(configuration)
            .map(Path::to_owned);
        let looked_at = once(libraries.iter().cloned().chain(others));
        Folders { libraries, looked_at }
    }

    /// Looks everywhere; for all but sockets, which come and go.
    pub fn run(&self, folders: &Folders) -> Vec<DriverFile> {
        let mut files = self.libraries(&folders.libraries);
        files.extend(self.named(&folders.libraries));
        files.extend(self.programs());
        files.extend(self.firmware());
        files.extend(self.configuration());
        files
    }

    /// The versions of libcuda and NVML that are there besides: of another driver than the kernel's.
    pub fn other_versions(&self, folders: &Folders) -> Vec<String> {
        let names = self.entries(&folders.libraries).map(|(_, name)| name);
        let version = |name: String| {
            let version = ["libcuda.so.", "libnvidia-ml.so."]
                .iter()
                .find_map(|stem| name.strip_prefix(stem))?;
            version.contains('.').then(|| version.to_owned())
        };
        once(names.filter_map(version))
    }

    /// Folders of libraries: those in which the loader's cache has one of the driver's, and the usual ones.
    fn library_folders(&self) -> Vec<PathBuf> {
        let cache = self.loader_cache().unwrap_or_default();
        let libraries = self.table.libraries();
        let is_wanted = |name: &str| {
            let stem = name.split_once(".so").map(|(stem, _)| stem);
            stem.is_some_and(|stem| libraries.iter().any(|(known, _)| *known == stem))
        };
        let cached = ld_cache::paths(&cache, is_wanted);
        let cached = cached
            .iter()
            .filter_map(|path| Path::new(path).parent().map(Path::to_owned));
        once(cached.chain(usual_folders()))
    }

    fn loader_cache(&self) -> Option<Vec<u8>> {
        let file = self.root.find(Path::new(LOADER_CACHE))?.open()?;
        let mut cache = Vec::new();
        file.take(LARGEST_CACHE).read_to_end(&mut cache).ok()?;
        Some(cache)
    }

    /// Everything that is called `lib*.so.<version>` and is a library of this machine. The first of a name counts.
    fn libraries(&self, folders: &[PathBuf]) -> Vec<DriverFile> {
        let known = self.table.libraries();
        let unlisted = Capabilities::from_iter([Capability::Unlisted]);
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for (folder, name) in self.entries(folders) {
            let Some(stem) = self.stem(&name) else { continue };
            let of_it = known.iter().find(|(known, _)| *known == stem);
            let for_any = of_it.map_or(unlisted, |(_, for_any)| *for_any);
            let Some((library, file)) = self.library(&folder.join(&name)) else {
                continue;
            };
            if !seen.insert((name.clone(), library.bits == Bits::ThirtyTwo)) {
                continue;
            }
            let soname = library.soname.filter(|soname| *soname != name);
            let names = std::iter::once(name.clone()).chain(soname).collect();
            found.extend(self.links(stem, library.bits, &file));
            found.push(placed(library.bits, for_any, names, file));
        }
        found
    }

    /// The further names of a library, which another capability may bring than the library itself.
    fn links(&self, stem: &str, bits: Bits, file: &Path) -> Vec<DriverFile> {
        let links = self.table.links();
        let of_it = links.iter().filter(|((_, of), _)| *of == stem);
        let link = |((name, _), for_any): &((&str, &str), Capabilities)| {
            placed(bits, *for_any, vec![(*name).to_owned()], file.to_owned())
        };
        of_it.map(link).collect()
    }

    /// Libraries without a version in their name, beside one that has it.
    fn named(&self, folders: &[PathBuf]) -> Vec<DriverFile> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let own = |folder: &&PathBuf| {
            let names = self.root.list(folder);
            names.iter().any(|name| self.stem(name).is_some())
        };
        for folder in folders.iter().filter(own) {
            for (name, for_any) in self.table.named() {
                let Some((library, file)) = self.library(&folder.join(name)) else {
                    continue;
                };
                if seen.insert((name, library.bits == Bits::ThirtyTwo)) {
                    found.push(placed(library.bits, for_any, vec![name.to_owned()], file));
                }
            }
        }
        found
    }

    /// `libcuda` of `libcuda.so.550.54.15`.
    fn stem<'n>(&self, name: &'n str) -> Option<&'n str> {
        let stem = name.strip_suffix(self.version)?.strip_suffix(".so.")?;
        stem.starts_with("lib").then_some(stem)
    }

    fn entries<'f>(&self, folders: &'f [PathBuf]) -> impl Iterator<Item = (&'f PathBuf, String)> {
        let lists = folders.iter().map(|folder| (folder, self.root.list(folder)));
        lists.flat_map(|(folder, names)| names.into_iter().map(move |name| (folder, name)))
    }

    fn library(&self, path: &Path) -> Option<(elf::Elf, PathBuf)> {
        let found = self.root.find(path)?;
        Some((elf::read(&found.open()?)?, found.real_path()?))
    }

    fn programs(&self) -> Vec<DriverFile> {
        let program = |(name, for_any): (&str, Capabilities)| {
            let paths = PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(name));
            let mut found = paths.filter_map(|path| self.root.find(&path));
            let own = found.find(|found| self.is_own_program(name, found).unwrap_or(false))?;
            Some(DriverFile {
                for_any,
                place: Place::Programs(name.to_owned()),
                host_path: own.real_path()?,
            })
        };
        self.table.programs().into_iter().filter_map(program).collect()
    }

    /// Whether it is for this machine, and of the driver's version as far as it says.
    fn is_own_program(&self, name: &str, found: &Found) -> Option<bool> {
        let file = found.open()?;
        if elf::read(&file)?.bits != Bits::SixtyFour {
            return None;
        }
        if !self.table.says_version(name) {
            return Some(true);
        }
        let mut text = Vec::new();
        file.take(LARGEST_PROGRAM).read_to_end(&mut text).ok()?;
        Some(memchr::memmem::find(&text, self.version.as_bytes()).is_some())
    }

    fn firmware_folder(&self) -> PathBuf {
        Path::new("/lib/firmware/nvidia").join(self.version)
    }

    fn firmware(&self) -> Vec<DriverFile> {
        let folder = self.firmware_folder();
        let names = self.root.list(&folder);
        let of = |(shape, for_any)| {
            let shape: &super::table::Firmware = shape;
            let names = names.iter();
            let fit = names.filter(|name| name.starts_with(&shape.begin) && name.ends_with(&shape.end));
            let paths = fit.map(|name| folder.join(name));
            paths
                .filter_map(|path| self.at(path, for_any))
                .collect::<Vec<_>>()
        };
        self.table.firmware().into_iter().flat_map(of).collect()
    }

    fn configuration(&self) -> Vec<DriverFile> {
        let files = self.table.files().into_iter();
        files
            .filter_map(|(path, for_any)| self.at(PathBuf::from(path), for_any))
            .collect()
    }

    fn at(&self, path: PathBuf, for_any: Capabilities) -> Option<DriverFile> {
        let found = self.root.find(&path).filter(Found::is_file)?;
        Some(DriverFile {
            for_any,
            place: Place::At(path),
            host_path: found.real_path()?,
        })
    }
}

/// Each once, at its first place.
fn once<T: Clone + Eq + Hash>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    all.filter(|one| seen.insert(one.clone())).collect()
}

fn placed(bits: Bits, for_any: Capabilities, names: Vec<String>, host_path: PathBuf) -> DriverFile {
    DriverFile {
        for_any,
        place: match bits {
            Bits::SixtyFour => Place::Libraries(names),
            Bits::ThirtyTwo => Place::Libraries32(names),
        },
        host_path,
    }
}

/// Folders in which loaders look, and Debian's own for the driver, which reach the loader by links only.
fn usual_folders() -> impl Iterator<Item = PathBuf> {
    let multiarch = [TRIPLE, TRIPLE_32].map(|triple| Path::new("/usr/lib").join(triple));
    let plain = ["/usr/lib64", "/usr/lib", "/usr/lib32", "/lib64", "/lib"].map(PathBuf::from);
    let folders = multiarch.into_iter().chain(plain);
    folders.flat_map(|folder| ["", "nvidia/current", "vdpau"].map(|below| folder.join(below)))
}
