//! Where a root file system's own loader looks for libraries without any cache: told by where its C library lies.

use std::path::{Path, PathBuf};

/// Debian's name for this machine's libraries.
pub const TRIPLE: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-linux-gnu"
} else {
    "x86_64-linux-gnu"
};

/// The same for its 32-bit libraries.
pub const TRIPLE_32: &str = if cfg!(target_arch = "aarch64") {
    "arm-linux-gnueabihf"
} else {
    "i386-linux-gnu"
};

/// musl's loader.
const MUSL: &str = if cfg!(target_arch = "aarch64") {
    "/lib/ld-musl-aarch64.so.1"
} else {
    "/lib/ld-musl-x86_64.so.1"
};

/// The C library of a root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    /// glibc, for which the driver's libraries are built.
    Glibc,
    /// musl, with which they don't load.
    Musl,
    /// None that this program knows: static programs alone, or another place.
    None,
}

/// Where a root file system has its libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The folders for the driver's libraries: one, or, where nobody could look, each that it may be.
    pub libraries: Vec<PathBuf>,
    /// The same for those of 32 bits.
    pub libraries_32: Vec<PathBuf>,
    /// What its programs are linked with.
    pub libc: Libc,
}

impl Layout {
    /// The layout of a root file system in which `is_there` finds files and folders, whatever links lead there inside it.
    pub fn of(is_there: &dyn Fn(&Path) -> bool) -> Layout {
        let triple = Path::new("/usr/lib").join(TRIPLE);
        let has = |folder: &Path, name: &str| is_there(&folder.join(name));
        let split = |folder: &Path| {
            // Some have /lib beside /usr/lib still.
            let old = Path::new("/").join(folder.strip_prefix("/usr").unwrap_or(folder));
            has(folder, "libc.so.6") || has(&old, "libc.so.6")
        };
        let (wide, plain) = (Path::new("/usr/lib64"), Path::new("/usr/lib"));
        let folders = [triple.as_path(), wide, plain];
        if let Some(folder) = folders.into_iter().find(|folder| split(folder)) {
            return Layout::in_folder(folder, Libc::Glibc);
        }
        if is_there(Path::new(MUSL)) {
            return Layout::in_folder(plain, Libc::Musl);
        }
        // No C library: as its folders are, or else where glibc itself would look.
        let folder = folders[..2].iter().find(|folder| is_there(folder));
        Layout::in_folder(folder.copied().unwrap_or(wide), Libc::None)
    }

    /// Where nobody could look: both folders that the loaders of glibc's distributions search.
    pub fn unknown() -> Layout {
        let multiarch = |triple: &str| Path::new("/usr/lib").join(triple);
        Layout {
            libraries: vec![multiarch(TRIPLE), "/usr/lib64".into()],
            libraries_32: vec![multiarch(TRIPLE_32)],
            libc: Libc::None,
        }
    }

    fn in_folder(folder: &Path, libc: Libc) -> Layout {
        let folder_32 = match folder.to_str() {
            Some("/usr/lib64") => PathBuf::from("/usr/lib"),
            Some("/usr/lib") => PathBuf::from("/usr/lib32"),
            _ => Path::new("/usr/lib").join(TRIPLE_32),
        };
        Layout {
            libraries: vec![folder.to_owned()],
            libraries_32: vec![folder_32],
            libc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(files: &[&str]) -> (String, String, Libc) {
        let layout = Layout::of(&|path| files.iter().any(|file| Path::new(file).starts_with(path)));
        let only = |folders: &[PathBuf]| folders[0].display().to_string();
        (only(&layout.libraries), only(&layout.libraries_32), layout.libc)
    }

    #[test]
    fn each_distributions_layout_is_told_by_its_c_library() {
        let debian = (
            format!("/usr/lib/{TRIPLE}"),
            format!("/usr/lib/{TRIPLE_32}"),
            Libc::Glibc,
        );
        for place in ["/usr/lib", "/lib"] {
            let libc = format!("{place}/{TRIPLE}/libc.so.6");
            assert_eq!(layout(&[&libc, "/usr/lib64/ld-linux-x86-64.so.2"]), debian);
        }
        let fedora = ("/usr/lib64".to_owned(), "/usr/lib".to_owned(), Libc::Glibc);
        assert_eq!(layout(&["/lib64/libc.so.6", "/usr/lib/libc.so.6"]), fedora);
        let arch = ("/usr/lib".to_owned(), "/usr/lib32".to_owned(), Libc::Glibc);
        assert_eq!(layout(&["/usr/lib/libc.so.6"]), arch);
    }

    #[test]
    fn musl_and_no_c_library_at_all_are_told_apart() {
        let (folder, _, libc) = layout(&[MUSL, "/usr/lib/libssl.so"]);
        assert_eq!((folder.as_str(), libc), ("/usr/lib", Libc::Musl));
        assert_eq!(layout(&["/bin/busybox"]).0, "/usr/lib64");
        let static_debian = format!("/usr/lib/{TRIPLE}/x");
        assert_eq!(layout(&[&static_debian]).0, format!("/usr/lib/{TRIPLE}"));
        // glibc beside musl (a compatibility layer): the driver's libraries load with that.
        assert_eq!(layout(&[MUSL, "/usr/lib64/libc.so.6"]).2, Libc::Glibc);
    }
}
