//! A stopped process's registers: which call it makes, with what, and what it is told. One part for each architecture.

use nix::errno::Errno;
use nix::sys::ptrace::{getregs, setregs};
use nix::unistd::Pid;

/// A call as its number and arguments stand in the registers, at its entry.
pub fn call(pid: Pid) -> nix::Result<(i64, [u64; 6])> {
    getregs(pid).map(|registers| machine::call(&registers))
}

/// What the call came to, at its exit: negative is an error.
pub fn result(pid: Pid) -> nix::Result<i64> {
    getregs(pid).map(|registers| machine::result(&registers))
}

/// At its entry: the kernel shall carry out nothing.
pub fn skip(pid: Pid) -> nix::Result<()> {
    machine::skip(pid)
}

/// At its exit: it failed with this error.
pub fn fail(pid: Pid, errno: Errno) -> nix::Result<()> {
    let mut registers = getregs(pid)?;
    machine::set_result(&mut registers, -(errno as i64));
    setregs(pid, registers)
}

/// Another third argument, which is how many bytes are to be read or written.
pub fn set_length(pid: Pid, length: u64) -> nix::Result<()> {
    let mut registers = getregs(pid)?;
    machine::set_length(&mut registers, length);
    setregs(pid, registers)
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use super::*;

    type Registers = libc::user_regs_struct;

    pub fn call(registers: &Registers) -> (i64, [u64; 6]) {
        let Registers {
            orig_rax,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..
        } = *registers;
        (orig_rax as i64, [rdi, rsi, rdx, r10, r8, r9])
    }

    pub fn result(registers: &Registers) -> i64 {
        registers.rax as i64
    }

    pub fn set_result(registers: &mut Registers, result: i64) {
        registers.rax = result as u64;
    }

    pub fn set_length(registers: &mut Registers, length: u64) {
        registers.rdx = length;
    }

    pub fn skip(pid: Pid) -> nix::Result<()> {
        let mut registers = getregs(pid)?;
        registers.orig_rax = u64::MAX;
        setregs(pid, registers)
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    use super::*;

    type Registers = libc::user_regs_struct;

    /// The register set that holds nothing but the call's number (linux/elf.h).
    const NT_ARM_SYSTEM_CALL: usize = 0x404;

    pub fn call(registers: &Registers) -> (i64, [u64; 6]) {
        let r = &registers.regs;
        (r[8] as i64, [r[0], r[1], r[2], r[3], r[4], r[5]])
    }

    pub fn result(registers: &Registers) -> i64 {
        registers.regs[0] as i64
    }

    pub fn set_result(registers: &mut Registers, result: i64) {
        registers.regs[0] = result as u64;
    }

    pub fn set_length(registers: &mut Registers, length: u64) {
        registers.regs[2] = length;
    }

    pub fn skip(pid: Pid) -> nix::Result<()> {
        let mut number: libc::c_int = -1;
        let mut place = libc::iovec {
            iov_base: (&raw mut number).cast(),
            iov_len: size_of::<libc::c_int>(),
        };
        // SAFETY: the kernel reads an int through an iovec of ours; both live until the call returns.
        let done = unsafe {
            libc::ptrace(
                libc::PTRACE_SETREGSET,
                pid.as_raw(),
                NT_ARM_SYSTEM_CALL as *mut libc::c_void,
                &raw mut place,
            )
        };
        Errno::result(done).map(drop)
    }
}
