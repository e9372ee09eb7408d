//! The dynamic loader's cache, `/etc/ld.so.cache`: which folders it says libraries lie in.
//!
//! Two layouts, and both in one file:
//!
//! ```text
//! old   "ld.so-1.7.0" 0  count:u32  count * {flags:i32 name:u32 path:u32}  strings
//! new   "glibc-ld.so.cache1.1"  count:u32  length:u32  20 bytes  count * {flags:i32 name:u32 path:u32 8+4 bytes}  strings
//! ```
//!
//! The old one's offsets count from its strings, the new one's from its own beginning. Where a file has both, the new one
//! begins behind the old one's entries, at the next multiple of eight, and its strings serve both.

const OLD: &[u8] = b"ld.so-1.7.0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
const NEW: &[u8] = b"glibc-ld.so.cache1.1";
const NEW_HEADER: usize = 48;
const NEW_ENTRY: usize = 24;

/// The paths of the cache whose file name `is_wanted`, in its order. Nothing where it is no such cache; an entry that
/// points outside is left out.
pub fn paths(cache: &[u8], is_wanted: impl Fn(&str) -> bool) -> Vec<&str> {
    let found = entries(cache).unwrap_or_default();
    let name = |path: &str| path.rsplit('/').next().is_some_and(&is_wanted);
    found
        .into_iter()
        .filter(|path| path.starts_with('/') && name(path))
        .collect()
}

fn entries(cache: &[u8]) -> Option<Vec<&str>> {
    if cache.starts_with(NEW) {
        return new(cache);
    }
    cache.starts_with(OLD).then_some(())?;
    let count = number(cache, 12)?;
    let end = OLD_HEADER.checked_add(count.checked_mul(OLD_ENTRY)?)?;
    let behind = cache.get(end.checked_next_multiple_of(8)?..);
    match behind.filter(|behind| behind.starts_with(NEW)) {
        Some(behind) => new(behind),
        None => Some(list(cache.get(OLD_HEADER..end)?, OLD_ENTRY, cache.get(end..)?)),
    }
}

fn new(cache: &[u8]) -> Option<Vec<&str>> {
    let count = number(cache, NEW.len())?;
    let end = NEW_HEADER.checked_add(count.checked_mul(NEW_ENTRY)?)?;
    Some(list(cache.get(NEW_HEADER..end)?, NEW_ENTRY, cache))
}

/// The path of each entry.
fn list<'a>(entries: &[u8], size: usize, strings: &'a [u8]) -> Vec<&'a str> {
    let path = |entry: &[u8]| {
        let text = strings.get(number(entry, 8)?..)?;
        let end = memchr::memchr(0, text)?;
        std::str::from_utf8(&text[..end]).ok()
    };
    entries.chunks_exact(size).filter_map(path).collect()
}

/// In this machine's byte order, which is that of the cache.
fn number(from: &[u8], at: usize) -> Option<usize> {
    let bytes = from.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_ne_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 3] = [
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "/opt/libcuda.so",
        "/lib/libc.so.6",
    ];

    /// The strings, and the offset of each from `first`.
    fn strings(first: usize) -> (Vec<u8>, Vec<u32>) {
        let mut text = Vec::new();
        let mut offsets = Vec::new();
        for path in PATHS {
            offsets.push((first + text.len()) as u32);
            text.extend(path.bytes().chain([0]));
        }
        (text, offsets)
    }

    fn old_header() -> Vec<u8> {
        let mut cache = OLD.to_vec();
        cache.push(0);
        cache.extend((PATHS.len() as u32).to_ne_bytes());
        cache
    }

    fn old() -> Vec<u8> {
        let mut cache = old_header();
        let (text, offsets) = strings(0);
        for offset in offsets {
            cache.extend([3, 0, offset].map(u32::to_ne_bytes).concat());
        }
        cache.extend(text);
        cache
    }

    fn new() -> Vec<u8> {
        let mut cache = NEW.to_vec();
        cache.extend((PATHS.len() as u32).to_ne_bytes());
        cache.resize(NEW_HEADER, 0);
        let (text, offsets) = strings(NEW_HEADER + PATHS.len() * NEW_ENTRY);
        for offset in offsets {
            cache.extend([0x303, 0, offset, 0, 0, 0].map(u32::to_ne_bytes).concat());
        }
        cache.extend(text);
        cache
    }

    /// As glibc of the years between wrote it.
    fn both() -> Vec<u8> {
        let mut cache = old_header();
        cache.resize(OLD_HEADER + PATHS.len() * OLD_ENTRY, 0xee);
        cache.resize(cache.len().next_multiple_of(8), 0);
        cache.extend(new());
        cache
    }

    #[test]
    fn either_layout_and_both_in_one_file_are_read() {
        for cache in [old(), new(), both()] {
            let found = paths(&cache, |name| name.starts_with("libcuda.so"));
            assert_eq!(found, PATHS[..2]);
        }
    }

    #[test]
    fn whatever_is_cut_off_or_points_outside_does_no_harm() {
        for cache in [old(), new(), both()] {
            for length in 0..cache.len() {
                let found = paths(&cache[..length], |_| true);
                assert!(found.iter().all(|path| PATHS.contains(path)), "{found:?}");
            }
            for at in 0..cache.len() {
                let mut broken = cache.clone();
                broken[at] = 0xff;
                paths(&broken, |_| true);
            }
        }
        assert_eq!(paths(b"something else", |_| true), [""; 0]);
    }

    #[test]
    fn this_machines_own_cache_is_read() {
        let cache = std::fs::read("/etc/ld.so.cache").unwrap();
        let found = paths(&cache, |name| name == "libc.so.6");
        assert!(!found.is_empty());
    }
}
