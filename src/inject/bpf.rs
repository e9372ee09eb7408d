//! The few bpf(2) calls that cgroup v2's device permissions need. The only `unsafe` of live injection is here.
//!
//! Every call hands the kernel a whole zeroed [`Attr`]: older kernels accept a longer one whose tail is zero, and
//! newer ones write answers past the end of a shorter one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A program attached to a group in a mode that lets others be attached beside it.
pub const ALLOW_MULTI: u32 = 1 << 1;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
const QUERY_EFFECTIVE: u32 = 1;
const REPLACE: u32 = 1 << 2;
/// Most programs that the kernel lets one group have.
const MAX_PROGRAMS: usize = 64;
/// The kernel's limit for programs loaded by root.
const MAX_INSTRUCTIONS: usize = 1_000_000;

/// One instruction, as the kernel has it: opcode, registers (source in the high nibble), offset, immediate.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and mode.
    pub code: u8,
    /// Source register in the high four bits, destination in the low four.
    pub registers: u8,
    /// Of memory, or of a jump relative to the next instruction.
    pub offset: i16,
    /// A constant.
    pub immediate: i32,
}

/// `union bpf_attr` as 64-bit words; which word means what depends on the command.
type Attr = [u64; 24];

/// The first words of `struct bpf_prog_info`, with room for what newer kernels add.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_bytes: u32,
    xlated_bytes: u32,
    jited: u64,
    xlated: u64,
    load_time: u64,
    created_by: u32,
    maps: u32,
    map_ids: u64,
    rest: [u64; 24],
}

/// The device programs attached to one group.
#[derive(Debug)]
pub struct Attached {
    /// Their ids, in the order in which they are attached.
    pub ids: Vec<u32>,
    /// The flags they were attached with: [`ALLOW_MULTI`], or a mode that allows one program only.
    pub flags: u32,
}

/// The device programs attached to `group` itself.
pub fn attached(group: BorrowedFd<'_>) -> io::Result<Attached> {
    query(group, 0)
}

/// The ids of all device programs that decide for `group`: its own and its ancestors'.
pub fn effective(group: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    Ok(query(group, QUERY_EFFECTIVE)?.ids)
}

fn query(group: BorrowedFd<'_>, flags: u32) -> io::Result<Attached> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attr: Attr = [0; 24];
    attr[0] = words(fd_word(group), ATTACH_TYPE_CGROUP_DEVICE);
    attr[1] = words(flags, 0);
    attr[2] = address(ids.as_mut_ptr());
    attr[3] = words(MAX_PROGRAMS as u32, 0);
    // SAFETY: word 2 points to `ids`, which outlives the call, and word 3 says how many u32 it has.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    let [count, _] = halves(attr[3]);
    let [_, flags] = halves(attr[1]);
    let ids = ids.get(..count as usize).ok_or_else(nonsense)?;
    Ok(Attached {
        ids: ids.to_vec(),
        flags,
    })
}

/// A handle to the program with that id.
pub fn program(id: u32) -> io::Result<OwnedFd> {
    let mut attr: Attr = [0; 24];
    attr[0] = words(id, 0);
    // SAFETY: this command takes numbers only.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) }?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a device program consists of, as the kernel's verifier left it, and how many maps it uses.
pub fn instructions(program: BorrowedFd<'_>) -> io::Result<(Vec<Instruction>, u32)> {
    let size = std::mem::size_of::<Instruction>();
    let mut sizes = ProgramInfo::default();
    // SAFETY: all of `sizes`' pointers and lengths are zero: the kernel fills in nothing but the struct.
    unsafe { info(program, &mut sizes) }?;
    let count = sizes.xlated_bytes as usize / size;
    if sizes.kind != PROG_TYPE_CGROUP_DEVICE || count > MAX_INSTRUCTIONS {
        return Err(nonsense());
    }
    let mut found = vec![Instruction::default(); count];
    let mut full = ProgramInfo {
        xlated_bytes: sizes.xlated_bytes,
        xlated: address(found.as_mut_ptr()),
        ..ProgramInfo::default()
    };
    // SAFETY: `xlated` points to `found`, which outlives the call and has at least `xlated_bytes` bytes; any bytes
    // make an `Instruction`.
    unsafe { info(program, &mut full) }?;
    if full.xlated_bytes != sizes.xlated_bytes || full.xlated == 0 {
        return Err(nonsense());
    }
    Ok((found, full.maps))
}

/// # Safety
///
/// Every pointer in `info` must be good for writing as many bytes as the length that goes with it says.
unsafe fn info(program: BorrowedFd<'_>, info: &mut ProgramInfo) -> io::Result<()> {
    let mut attr: Attr = [0; 24];
    attr[0] = words(fd_word(program), std::mem::size_of::<ProgramInfo>() as u32);
    attr[1] = address(info);
    // SAFETY: word 1 points to `info`, whose size word 0 gives; its own pointers are the caller's promise.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attr) }.map(drop)
}

/// Gives a device program to the kernel's verifier; attached to nothing yet.
pub fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let count = u32::try_from(program.len()).map_err(|_| nonsense())?;
    let mut attr: Attr = [0; 24];
    attr[0] = words(PROG_TYPE_CGROUP_DEVICE, count);
    attr[1] = address(program.as_ptr());
    attr[2] = address(c"Apache-2.0".as_ptr());
    // SAFETY: word 1 points to `count` instructions and word 2 to a string that ends in NUL; both outlive the call,
    // which only reads them.
    let fd = unsafe { bpf(PROG_LOAD, &mut attr) }?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts `new` where `old` is attached to `group` with `flags`, in one step: at no moment is neither in force.
pub fn replace(group: BorrowedFd<'_>, old: &OwnedFd, new: &OwnedFd, flags: u32) -> io::Result<()> {
    // Where a group takes one program only, attaching another by the same flags replaces it.
    let (flags, replaced) = if flags & ALLOW_MULTI == 0 {
        (flags, 0)
    } else {
        (flags | REPLACE, fd_word(old.as_fd()))
    };
    attach(group, new, flags, replaced)
}

/// Attaches a program beside what `group` has.
pub fn attach(group: BorrowedFd<'_>, program: &OwnedFd, flags: u32, replaced: u32) -> io::Result<()> {
    let mut attr: Attr = [0; 24];
    attr[0] = words(fd_word(group), fd_word(program.as_fd()));
    attr[1] = words(ATTACH_TYPE_CGROUP_DEVICE, flags);
    attr[2] = words(replaced, 0);
    // SAFETY: this command takes numbers only.
    unsafe { bpf(PROG_ATTACH, &mut attr) }.map(drop)
}

/// # Safety
///
/// Every pointer that `command` finds in `attr` must be good for what that command reads or writes there.
unsafe fn bpf(command: libc::c_int, attr: &mut Attr) -> io::Result<libc::c_int> {
    // SAFETY: `attr` is valid for its whole size; what it points to is the caller's promise.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attr.as_mut_ptr(),
            std::mem::size_of::<Attr>(),
        )
    };
    match libc::c_int::try_from(answer) {
        Ok(answer) if answer >= 0 => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Two neighbouring 32-bit fields as one word, the first at the lower address.
fn words(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

fn address<T>(pointer: *const T) -> u64 {
    pointer as usize as u64
}

fn fd_word(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer makes no sense")
}
