//! ELF files as small as they can be: shared libraries with a SONAME and nothing else, and what stands for a program.

/// Of how many bits a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// This machine's own.
    SixtyFour,
    /// The older one.
    ThirtyTwo,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;

/// A shared library; `text` lies behind it, for whoever searches there.
pub fn library(bits: Bits, soname: Option<&str>, text: &str) -> Vec<u8> {
    let (header, entry, word) = match bits {
        Bits::SixtyFour => (64_u64, 56_u64, 8_u64),
        Bits::ThirtyTwo => (52, 32, 4),
    };
    let dynamic_at = header + 2 * entry;
    let mut tags = vec![];
    let dynamic_size = 2 * word * if soname.is_some() { 3 } else { 1 };
    let strings_at = dynamic_at + dynamic_size;
    if soname.is_some() {
        tags.extend([DT_STRTAB, strings_at, DT_SONAME, 1]);
    }
    tags.extend([0, 0]);
    let mut strings = vec![0];
    strings.extend(soname.unwrap_or_default().bytes());
    strings.push(0);
    strings.extend(text.bytes());
    let size = strings_at + strings.len() as u64;

    let mut file = start(bits, header, entry);
    for (kind, at, size) in [(PT_LOAD, 0, size), (PT_DYNAMIC, dynamic_at, dynamic_size)] {
        file.extend(segment(bits, kind, at, size));
    }
    for tag in tags {
        file.extend(&tag.to_le_bytes()[..word as usize]);
    }
    file.extend(strings);
    file
}

fn start(bits: Bits, header: u64, entry: u64) -> Vec<u8> {
    let (class, machine) = match (bits, cfg!(target_arch = "aarch64")) {
        (Bits::SixtyFour, false) => (2, 62_u16),
        (Bits::SixtyFour, true) => (2, 183),
        (Bits::ThirtyTwo, false) => (1, 3),
        (Bits::ThirtyTwo, true) => (1, 40),
    };
    let word = if class == 2 { 8 } else { 4 };
    let mut file = vec![0x7f, b'E', b'L', b'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(3_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for at in [0, header, 0] {
        file.extend(&u64::to_le_bytes(at)[..word]);
    }
    file.extend(0_u32.to_le_bytes());
    for number in [header as u16, entry as u16, 2, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    file
}

fn segment(bits: Bits, kind: u32, at: u64, size: u64) -> Vec<u8> {
    let mut entry = kind.to_le_bytes().to_vec();
    let numbers = [at, at, at, size, size];
    match bits {
        Bits::SixtyFour => {
            entry.extend(5_u32.to_le_bytes());
            entry.extend(numbers.into_iter().chain([0x1000]).flat_map(u64::to_le_bytes));
        }
        Bits::ThirtyTwo => {
            let numbers = numbers.into_iter().chain([5, 0x1000]);
            entry.extend(numbers.flat_map(|number| (number as u32).to_le_bytes()));
        }
    }
    entry
}
