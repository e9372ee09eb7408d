//! crun where nobody may raise a limit.
//!
//! For device rules on cgroup v2, crun up to 1.8 first sets RLIMIT_MEMLOCK to infinity, and fails where that is not
//! allowed (a machine whose root lacks CAP_SYS_RESOURCE), though kernels since 5.11 do not count BPF against that
//! limit any more. There, a seccomp filter answers that one call with success and does nothing.

use std::io;

const MEMLOCK: u32 = libc::RLIMIT_MEMLOCK;

/// Whether raising the limit would fail.
pub fn is_closed() -> bool {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes to a struct of ours of the right type.
    unsafe { libc::getrlimit(MEMLOCK, &mut limit) };
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .expect("CapEff");
    let effective = u64::from_str_radix(effective.trim(), 16).expect("a mask in hex");
    const CAP_SYS_RESOURCE: u32 = 24;
    limit.rlim_max != libc::RLIM_INFINITY && effective & (1 << CAP_SYS_RESOURCE) == 0
}

/// Makes this process and all it starts believe that they raised RLIMIT_MEMLOCK. Only for between fork and exec;
/// allocates nothing.
pub fn pretend() -> io::Result<()> {
    // struct seccomp_data: nr at 0, arch at 4, args (u64) from 16.
    const NR: u32 = 0;
    const ARGUMENT: [u32; 3] = [16, 24, 32];
    const DONE: u32 = libc::SECCOMP_RET_ERRNO; // with errno 0: the call does nothing and returns 0
    let load = |offset| filter((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, offset);
    let equal = |value, yes, no| {
        filter(
            (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            yes,
            no,
            value,
        )
    };
    let answer = |value| filter((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, value);
    // The 32-bit calls of a 64-bit machine have other numbers and are used by no runtime: no check of the arch.
    let program = [
        load(NR),
        equal(libc::SYS_prlimit64 as u32, 2, 0),
        equal(libc::SYS_setrlimit as u32, 5, 0),
        answer(libc::SECCOMP_RET_ALLOW),
        load(ARGUMENT[1]), // prlimit64(pid, resource, new, old)
        equal(MEMLOCK, 0, 4),
        load(ARGUMENT[2]), // low half of `new`: null only asks
        equal(0, 2, 3),
        load(ARGUMENT[0]), // setrlimit(resource, limit)
        equal(MEMLOCK, 1, 0),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(DONE),
    ];
    install(&program)
}

fn filter(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn install(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which lives until the call returns, and writes nothing.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
