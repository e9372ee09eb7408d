//! The kinds of system calls: what each is about, and the errors that it is made to fail with.
//!
//! A call has the errors of its manual page that say something different to a program. One that isn't named here fails
//! with EIO.
//!
//! Some kinds are left out, each for a reason that stands with it: they never fail for a reason of the machine's, or their
//! failure ends Rust's own runtime just as a kill would. Nor is a process killed at them: they change nothing that can be
//! seen from outside, so that a kill there is the one after the call before, or the one before the call after.

use nix::errno::Errno::{self, EAGAIN, EINTR, EIO, EMFILE, ENOLCK, ENOMEM, ENOSPC, EROFS};

/// Where a call's arguments say what it is about.
#[derive(Clone, Copy, Debug)]
pub enum About {
    Nothing,
    /// The argument of this number is an open file.
    File(usize),
    /// This one is a path.
    Path(usize),
    /// This one is a path below the open folder of the one before it.
    Below(usize),
}

/// A kind of call.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub number: i64,
    pub name: &'static str,
    pub about: About,
    pub errors: &'static [Errno],
}

impl Kind {
    pub fn of(number: i64) -> Kind {
        let known = TABLES.iter().flat_map(|table| table.iter());
        known.copied().find(|kind| kind.number == number).unwrap_or(Kind {
            number,
            name: "another",
            about: About::Nothing,
            errors: &[EIO],
        })
    }

    /// Whether it is left out.
    pub fn is_silent(self) -> bool {
        self.errors.is_empty()
    }

    /// Whether it changes what others see.
    pub fn changes(self) -> bool {
        let others = ["mount", "move_mount", "umount2", "bpf", "flock"];
        [CHANGE, TAKE, WRITE].contains(&self.errors) || others.contains(&self.name)
    }

    /// Whether it moves bytes, their number being its third argument, so that it may move fewer.
    pub fn moves_bytes(self) -> bool {
        ["read", "pread64", "recvfrom", "write", "pwrite64"].contains(&self.name)
    }

    /// Whether it opens a file, and which of its arguments are the flags.
    pub fn flags(self) -> Option<usize> {
        match self.name {
            "open" => Some(1),
            "openat" => Some(2),
            _ => None,
        }
    }
}

const fn kind(number: i64, name: &'static str, about: About, errors: &'static [Errno]) -> Kind {
    Kind {
        number,
        name,
        about,
        errors,
    }
}

use About::{Below, File, Nothing, Path};

const TABLES: [&[Kind]; 3] = [FILES, OTHERS, &of_this_architecture::OLDER];

/// What changes a folder.
const CHANGE: &[Errno] = &[EIO, ENOSPC, EROFS];
/// What takes something out of a folder, or changes what is known of it.
const TAKE: &[Errno] = &[EIO, EROFS];
/// What opens a file; whether ENOSPC and EROFS fit depends on how ([`super::call::Call::fits`]).
const OPEN: &[Errno] = &[EMFILE, EINTR, EIO, ENOSPC, EROFS];
const NEW_FILE: &[Errno] = &[EMFILE, ENOMEM];
const LOOK: &[Errno] = &[EIO];
const READ: &[Errno] = &[EINTR, EIO];
const WRITE: &[Errno] = &[EINTR, EIO, ENOSPC];

const FILES: &[Kind] = &[
    kind(libc::SYS_openat, "openat", Below(1), OPEN),
    kind(libc::SYS_openat2, "openat2", Below(1), OPEN),
    kind(libc::SYS_open_tree, "open_tree", Below(1), NEW_FILE),
    kind(libc::SYS_read, "read", File(0), READ),
    kind(libc::SYS_pread64, "pread64", File(0), READ),
    kind(libc::SYS_write, "write", File(0), WRITE),
    kind(libc::SYS_pwrite64, "pwrite64", File(0), WRITE),
    kind(libc::SYS_writev, "writev", File(0), WRITE),
    kind(libc::SYS_close, "close", File(0), READ),
    kind(libc::SYS_flock, "flock", File(0), &[EINTR, EIO, ENOLCK]),
    kind(libc::SYS_fsync, "fsync", File(0), WRITE),
    kind(libc::SYS_getdents64, "getdents64", File(0), LOOK),
    kind(libc::SYS_fstat, "fstat", File(0), LOOK),
    kind(libc::SYS_fstatfs, "fstatfs", File(0), READ),
    kind(libc::SYS_statfs, "statfs", Path(0), READ),
    kind(libc::SYS_statx, "statx", Below(1), LOOK),
    kind(libc::SYS_newfstatat, "newfstatat", Below(1), LOOK),
    kind(libc::SYS_faccessat, "faccessat", Below(1), LOOK),
    kind(libc::SYS_readlinkat, "readlinkat", Below(1), LOOK),
    kind(libc::SYS_getcwd, "getcwd", Nothing, LOOK),
    kind(libc::SYS_mkdirat, "mkdirat", Below(1), CHANGE),
    kind(libc::SYS_mknodat, "mknodat", Below(1), CHANGE),
    kind(libc::SYS_symlinkat, "symlinkat", Below(2), CHANGE),
    kind(libc::SYS_linkat, "linkat", Below(3), CHANGE),
    kind(libc::SYS_renameat2, "renameat2", Below(3), CHANGE),
    kind(libc::SYS_unlinkat, "unlinkat", Below(1), TAKE),
    kind(libc::SYS_fchmod, "fchmod", File(0), TAKE),
    kind(libc::SYS_fchmodat, "fchmodat", Below(1), TAKE),
    kind(libc::SYS_fchown, "fchown", File(0), TAKE),
    kind(libc::SYS_fchownat, "fchownat", Below(1), TAKE),
    kind(libc::SYS_ftruncate, "ftruncate", File(0), WRITE),
    kind(libc::SYS_mount, "mount", Path(1), &[EIO, ENOSPC]),
    kind(libc::SYS_move_mount, "move_mount", Below(3), &[EIO, ENOSPC]),
    kind(libc::SYS_umount2, "umount2", Path(0), LOOK),
    kind(
        libc::SYS_inotify_add_watch,
        "inotify_add_watch",
        Path(1),
        &[ENOSPC],
    ),
];

const OTHERS: &[Kind] = &[
    kind(libc::SYS_pipe2, "pipe2", Nothing, &[EMFILE]),
    kind(libc::SYS_dup, "dup", File(0), &[EMFILE]),
    kind(libc::SYS_fcntl, "fcntl", File(0), &[EMFILE]),
    kind(libc::SYS_dup3, "dup3", File(0), READ),
    kind(libc::SYS_pidfd_open, "pidfd_open", Nothing, NEW_FILE),
    kind(libc::SYS_signalfd4, "signalfd4", Nothing, NEW_FILE),
    kind(libc::SYS_eventfd2, "eventfd2", Nothing, NEW_FILE),
    kind(libc::SYS_memfd_create, "memfd_create", Nothing, NEW_FILE),
    kind(libc::SYS_inotify_init1, "inotify_init1", Nothing, NEW_FILE),
    kind(libc::SYS_epoll_create1, "epoll_create1", Nothing, NEW_FILE),
    kind(libc::SYS_socket, "socket", Nothing, NEW_FILE),
    kind(libc::SYS_bpf, "bpf", Nothing, NEW_FILE),
    kind(libc::SYS_connect, "connect", File(0), READ),
    kind(libc::SYS_sendto, "sendto", File(0), READ),
    kind(libc::SYS_recvfrom, "recvfrom", File(0), READ),
    kind(libc::SYS_ppoll, "ppoll", Nothing, &[EINTR, ENOMEM]),
    kind(libc::SYS_wait4, "wait4", Nothing, &[EINTR]),
    kind(libc::SYS_waitid, "waitid", Nothing, &[EINTR]),
    kind(libc::SYS_nanosleep, "nanosleep", Nothing, &[EINTR]),
    kind(libc::SYS_clock_nanosleep, "clock_nanosleep", Nothing, &[EINTR]),
    kind(libc::SYS_getrandom, "getrandom", Nothing, &[EINTR]),
    kind(libc::SYS_clone, "clone", Nothing, &[EAGAIN, ENOMEM]),
    kind(libc::SYS_clone3, "clone3", Nothing, &[EAGAIN, ENOMEM]),
    kind(libc::SYS_unshare, "unshare", Nothing, &[ENOMEM, ENOSPC]),
    kind(libc::SYS_setns, "setns", File(0), &[ENOMEM]),
    kind(libc::SYS_execve, "execve", Path(0), &[EIO, EMFILE, ENOMEM]),
    // Memory: where it ends Rust's allocator ends the process, as a kill does.
    kind(libc::SYS_mmap, "mmap", Nothing, &[]),
    kind(libc::SYS_munmap, "munmap", Nothing, &[]),
    kind(libc::SYS_mremap, "mremap", Nothing, &[]),
    kind(libc::SYS_mprotect, "mprotect", Nothing, &[]),
    kind(libc::SYS_madvise, "madvise", Nothing, &[]),
    kind(libc::SYS_brk, "brk", Nothing, &[]),
    kind(libc::SYS_futex, "futex", Nothing, &[]),
    // Questions about the process itself, and its own settings, all valid: none of these can fail.
    kind(libc::SYS_getpid, "getpid", Nothing, &[]),
    kind(libc::SYS_gettid, "gettid", Nothing, &[]),
    kind(libc::SYS_getppid, "getppid", Nothing, &[]),
    kind(libc::SYS_getuid, "getuid", Nothing, &[]),
    kind(libc::SYS_geteuid, "geteuid", Nothing, &[]),
    kind(libc::SYS_getgid, "getgid", Nothing, &[]),
    kind(libc::SYS_getegid, "getegid", Nothing, &[]),
    kind(libc::SYS_umask, "umask", Nothing, &[]),
    kind(libc::SYS_prlimit64, "prlimit64", Nothing, &[]),
    kind(libc::SYS_sched_yield, "sched_yield", Nothing, &[]),
    kind(libc::SYS_sched_getaffinity, "sched_getaffinity", Nothing, &[]),
    kind(libc::SYS_rt_sigaction, "rt_sigaction", Nothing, &[]),
    kind(libc::SYS_rt_sigprocmask, "rt_sigprocmask", Nothing, &[]),
    kind(libc::SYS_rt_sigreturn, "rt_sigreturn", Nothing, &[]),
    kind(libc::SYS_sigaltstack, "sigaltstack", Nothing, &[]),
    kind(libc::SYS_set_tid_address, "set_tid_address", Nothing, &[]),
    kind(libc::SYS_set_robust_list, "set_robust_list", Nothing, &[]),
    kind(libc::SYS_rseq, "rseq", Nothing, &[]),
    kind(libc::SYS_prctl, "prctl", Nothing, &[]),
    kind(libc::SYS_restart_syscall, "restart_syscall", Nothing, &[]),
    kind(libc::SYS_exit, "exit", Nothing, &[]),
    kind(libc::SYS_exit_group, "exit_group", Nothing, &[]),
];

#[cfg(target_arch = "x86_64")]
mod of_this_architecture {
    use super::*;

    /// The older calls, which newer architectures don't have.
    pub const OLDER: [Kind; 21] = [
        kind(libc::SYS_open, "open", Path(0), OPEN),
        kind(libc::SYS_stat, "stat", Path(0), LOOK),
        kind(libc::SYS_lstat, "lstat", Path(0), LOOK),
        kind(libc::SYS_access, "access", Path(0), LOOK),
        kind(libc::SYS_readlink, "readlink", Path(0), LOOK),
        kind(libc::SYS_mkdir, "mkdir", Path(0), CHANGE),
        kind(libc::SYS_mknod, "mknod", Path(0), CHANGE),
        kind(libc::SYS_symlink, "symlink", Path(1), CHANGE),
        kind(libc::SYS_link, "link", Path(1), CHANGE),
        kind(libc::SYS_rename, "rename", Path(1), CHANGE),
        kind(libc::SYS_unlink, "unlink", Path(0), TAKE),
        kind(libc::SYS_rmdir, "rmdir", Path(0), TAKE),
        kind(libc::SYS_chmod, "chmod", Path(0), TAKE),
        kind(libc::SYS_chown, "chown", Path(0), TAKE),
        kind(libc::SYS_lchown, "lchown", Path(0), TAKE),
        kind(libc::SYS_pipe, "pipe", Nothing, &[EMFILE]),
        kind(libc::SYS_dup2, "dup2", File(0), READ),
        kind(libc::SYS_poll, "poll", Nothing, &[EINTR, ENOMEM]),
        kind(libc::SYS_fork, "fork", Nothing, &[EAGAIN, ENOMEM]),
        kind(libc::SYS_vfork, "vfork", Nothing, &[EAGAIN, ENOMEM]),
        // Sets where thread-local memory is: the loader's.
        kind(libc::SYS_arch_prctl, "arch_prctl", Nothing, &[]),
    ];
}

#[cfg(not(target_arch = "x86_64"))]
mod of_this_architecture {
    use super::*;

    pub const OLDER: [Kind; 1] = [kind(libc::SYS_renameat, "renameat", Below(3), CHANGE)];
}
