//! Preloaded into a program under valgrind: valgrind up to 3.20 lets it re-execute /proc/self/exe, and what runs then
//! is valgrind. This names the program instead.

use std::ffi::{CStr, CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

/// posix_spawnp(3) for a path without a search: `/proc/self/exe` becomes what that link says, which valgrind answers
/// rightly.
///
/// # Safety
/// As for posix_spawnp.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawnp(
    pid: *mut libc::pid_t,
    file: *const c_char,
    actions: *const libc::posix_spawn_file_actions_t,
    attributes: *const libc::posix_spawnattr_t,
    argv: *const *mut c_char,
    envp: *const *mut c_char,
) -> c_int {
    // SAFETY: the caller's promise: a C string.
    let name = unsafe { CStr::from_ptr(file) };
    let named = std::fs::read_link("/proc/self/exe")
        .ok()
        .filter(|_| name == c"/proc/self/exe");
    let named = named.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
    let path = named.as_deref().map_or(file, CStr::as_ptr);
    // SAFETY: the caller's own arguments, and a C string that lives until the call is over.
    unsafe { libc::posix_spawn(pid, path, actions, attributes, argv, envp) }
}
