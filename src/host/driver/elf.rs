//! As much of an ELF file as tells whose it is: its class, its machine, and the name under which programs ask for it.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// No header, table or name of a library comes near this.
const LARGEST: u64 = 1 << 20;

/// What an ELF file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// Of how many bits.
    pub bits: Bits,
    /// Its SONAME: a plain file's name.
    pub soname: Option<String>,
}

/// A word's length, in files for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// This machine's own.
    SixtyFour,
    /// The older one, which it still runs.
    ThirtyTwo,
}

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;

/// Where a class has what: offsets in bytes.
struct Shape {
    bits: Bits,
    machine: u64,
    word: usize,
    header: usize,
    programs_at: usize,
    program_size_at: usize,
    program: usize,
    /// In a program header: offset, address, size in the file.
    segment: [usize; 3],
}

const SHAPE_64: Shape = Shape {
    bits: Bits::SixtyFour,
    machine: if cfg!(target_arch = "aarch64") { 183 } else { 62 },
    word: 8,
    header: 64,
    programs_at: 32,
    program_size_at: 54,
    program: 56,
    segment: [8, 16, 32],
};

const SHAPE_32: Shape = Shape {
    bits: Bits::ThirtyTwo,
    machine: if cfg!(target_arch = "aarch64") { 40 } else { 3 },
    word: 4,
    header: 52,
    programs_at: 28,
    program_size_at: 42,
    program: 32,
    segment: [4, 8, 16],
};

/// A part of the file, and where it comes to lie in memory.
struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

/// Reads what `file` is. None where it is no ELF file of this machine.
pub fn read(file: &File) -> Option<Elf> {
    let start = bytes(file, 0, 64)?;
    let shape = match start.get(..6)? {
        [0x7f, b'E', b'L', b'F', 2, 1] => SHAPE_64,
        [0x7f, b'E', b'L', b'F', 1, 1] => SHAPE_32,
        _ => return None,
    };
    (number(&start, 18, 2)? == shape.machine).then_some(())?;
    Some(Elf {
        bits: shape.bits,
        soname: soname(file, &start[..shape.header], &shape),
    })
}

fn soname(file: &File, header: &[u8], shape: &Shape) -> Option<String> {
    let segments = segments(file, header, shape)?;
    let dynamic = segments.iter().find(|segment| segment.kind == PT_DYNAMIC)?;
    let table = bytes(file, dynamic.offset, dynamic.size)?;
    let entry = |tag: u64| {
        let mut entries = table.chunks_exact(2 * shape.word);
        let found = entries.find(|entry| number(entry, 0, shape.word) == Some(tag))?;
        number(found, shape.word, shape.word)
    };
    let (strings, name) = (entry(DT_STRTAB)?, entry(DT_SONAME)?);
    let inside = |segment: &&Segment| {
        segment.kind == PT_LOAD
            && strings
                .checked_sub(segment.address)
                .is_some_and(|at| at < segment.size)
    };
    let segment = segments.iter().find(inside)?;
    let at = segment
        .offset
        .checked_add(strings - segment.address)?
        .checked_add(name)?;
    let text = bytes(file, at, 256).or_else(|| rest(file, at))?;
    let end = text.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&text[..end]).ok()?;
    is_plain(name).then(|| name.to_owned())
}

/// Whether it can stand behind a folder: a file's name and nothing more.
fn is_plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(fits)
}

fn segments(file: &File, header: &[u8], shape: &Shape) -> Option<Vec<Segment>> {
    let at = number(header, shape.programs_at, shape.word)?;
    let size = number(header, shape.program_size_at, 2)?;
    let count = number(header, shape.program_size_at + 2, 2)?;
    (size == shape.program as u64).then_some(())?;
    let table = bytes(file, at, size * count)?;
    let segment = |entry: &[u8]| {
        let [offset, address, length] = shape.segment;
        Some(Segment {
            kind: number(entry, 0, 4)?,
            offset: number(entry, offset, shape.word)?,
            address: number(entry, address, shape.word)?,
            size: number(entry, length, shape.word)?,
        })
    };
    table.chunks_exact(shape.program).map(segment).collect()
}

/// Little-endian, as both machines are.
fn number(from: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = from.get(at..at.checked_add(length)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |so_far, byte| so_far << 8 | u64::from(*byte)),
    )
}

fn bytes(file: &File, at: u64, length: u64) -> Option<Vec<u8>> {
    (length <= LARGEST).then_some(())?;
    let mut buffer = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut buffer, at).ok()?;
    Some(buffer)
}

/// What is left of a file that ends soon.
fn rest(file: &File, at: u64) -> Option<Vec<u8>> {
    let length = file.metadata().ok()?.len().checked_sub(at)?;
    bytes(file, at, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn of(bytes: &[u8]) -> Option<Elf> {
        let mut file = unnamed();
        file.write_all(bytes).unwrap();
        read(&file)
    }

    fn unnamed() -> File {
        let folder = std::env::temp_dir();
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        File::from(rustix::fs::open(folder, flags, rustix::fs::Mode::RUSR).unwrap())
    }

    #[test]
    fn this_very_program_is_of_this_machine() {
        let own = File::open(std::env::current_exe().unwrap()).unwrap();
        let expected = Elf {
            bits: Bits::SixtyFour,
            soname: None,
        };
        assert_eq!(read(&own), Some(expected));
    }

    #[test]
    fn what_is_cut_off_or_points_outside_is_none_and_no_panic() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [0, 5, 20, 63] {
            assert_eq!(of(&whole[..length]), None);
        }
        let mut wild = whole[..4096].to_vec();
        wild[32..40].fill(0xff);
        assert_eq!(of(&wild).unwrap().soname, None);
        wild[56..58].fill(0xff);
        assert_eq!(of(&wild).unwrap().soname, None);
        let mut other = whole[..64].to_vec();
        other[18] = 21;
        assert_eq!(of(&other), None);
    }

    #[test]
    fn a_name_that_is_more_than_a_files_name_is_not_taken() {
        for name in ["libcuda.so.1", "libstdc++.so.6"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "..", "../x", "/etc/passwd", "a b", "a\n"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
