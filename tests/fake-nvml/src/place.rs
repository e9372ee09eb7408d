//! Which node this copy of the library belongs to: the folder above the one it was loaded from.
//!
//! Never by environment: several processes, whatever their environment, see one node.

use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The node's folder (`DIR` of `DIR/lib/libnvidia-ml.so.1`), found once.
pub fn dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let library = own_file().unwrap_or_default();
        let library = library.canonicalize().unwrap_or(library);
        library.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
    })
}

/// The path this library was loaded by.
fn own_file() -> Option<PathBuf> {
    let inside = own_file as *const () as *const libc::c_void;
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr only reads the address, and fills `found`, which is large enough and zeroed (its pointers null).
    let info = unsafe {
        if libc::dladdr(inside, found.as_mut_ptr()) == 0 {
            return None;
        }
        found.assume_init()
    };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own string, which lives as long as this library is loaded.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}
