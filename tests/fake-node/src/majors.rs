//! Which device majors a node gets: never one that a driver of this machine has.
//!
//! So an open of a fake node finds no driver, ENXIO, and touches nothing real even where a GPU is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::spec::MajorsSpec;

/// Since this driver branch, GPUs are registered as `nvidia`, and IMEX channels have a major.
const RENAMED: u32 = 550;

/// Majors by the name that /proc/devices gives them.
pub type Majors = BTreeMap<String, u32>;

/// Chooses a node's majors.
pub fn choose(wanted: &MajorsSpec, branch: u32) -> Result<Majors> {
    let mut taken = on_host()?;
    let mut majors = Majors::new();
    let gpu = if branch < RENAMED {
        "nvidia-frontend"
    } else {
        "nvidia"
    };
    let mut add = |name: &str, wanted: Option<u32>, usual: &[u32]| -> Result<()> {
        let major = one(name, wanted, usual, &taken)?;
        taken.insert(major);
        majors.insert(name.to_owned(), major);
        Ok(())
    };
    add(gpu, wanted.nvidia, &[195])?;
    add("nvidia-caps", wanted.caps, &[237, 238, 239, 508])?;
    add("nvidia-uvm", wanted.uvm, &[510, 509, 511])?;
    if branch >= RENAMED {
        add("nvidia-caps-imex-channels", None, &[])?;
    }
    Ok(majors)
}

/// A major that belongs to nobody: what a stale node has.
pub fn nobodys(majors: &Majors) -> Result<u32> {
    let mut taken = on_host()?;
    taken.extend(majors.values());
    one("a stale node", None, &[], &taken)
}

fn one(name: &str, wanted: Option<u32>, usual: &[u32], taken: &BTreeSet<u32>) -> Result<u32> {
    if let Some(major) = wanted {
        ensure!(
            !taken.contains(&major),
            "major {major} for {name} is taken by another driver of this machine or node; leave it out"
        );
        return Ok(major);
    }
    // The kernel's own ranges for dynamic majors.
    let dynamic = (234..=254).rev().chain((384..=511).rev());
    let mut all = usual.iter().copied().chain(dynamic);
    match all.find(|major| !taken.contains(major)) {
        Some(major) => Ok(major),
        None => bail!("no free device major for {name}"),
    }
}

/// Character majors in use on this machine, and those that every node lists besides.
fn on_host() -> Result<BTreeSet<u32>> {
    let devices = fs::read_to_string("/proc/devices").context("/proc/devices")?;
    let mut taken: BTreeSet<u32> = characters(&devices).map(|(major, _)| major).collect();
    taken.extend(characters(OTHERS).map(|(major, _)| major));
    Ok(taken)
}

/// The character devices of a devices file.
fn characters(devices: &str) -> impl Iterator<Item = (u32, &str)> {
    let listed = devices.lines().skip(1).take_while(|line| !line.is_empty());
    listed.filter_map(|line| {
        let (major, name) = line.trim_start().split_once(' ')?;
        Some((major.parse().ok()?, name))
    })
}

/// What any machine has.
const OTHERS: &str = "Character devices:
  1 mem
  4 tty
  5 /dev/tty
  5 /dev/console
  5 /dev/ptmx
 10 misc
 13 input
 29 fb
128 ptm
136 pts
180 usb
189 usb_device
226 drm
";

/// Block devices, which have majors of their own.
const BLOCKS: &str = "
Block devices:
  7 loop
  8 sd
 65 sd
259 blkext
";

/// The node's `devices` file.
pub fn print(majors: &Majors) -> String {
    let mut lines: Vec<(u32, &str)> = characters(OTHERS).collect();
    for (name, major) in majors {
        lines.push((*major, name));
        if name == "nvidia" {
            lines.extend([(*major, "nvidia-modeset"), (*major, "nvidiactl")]);
        }
    }
    lines.sort_by_key(|(major, _)| *major);
    let characters: String = lines
        .iter()
        .map(|(major, name)| format!("{major:3} {name}\n"))
        .collect();
    format!("Character devices:\n{characters}{BLOCKS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_major_that_is_taken_is_never_given() {
        let taken = BTreeSet::from([195, 237, 254]);
        assert_eq!(one("x", None, &[195, 196], &taken).unwrap(), 196);
        assert_eq!(one("x", None, &[], &taken).unwrap(), 253);
        assert!(one("x", Some(237), &[], &taken).is_err());
        assert_eq!(one("x", Some(238), &[], &taken).unwrap(), 238);
    }

    #[test]
    fn what_is_printed_reads_back() {
        let majors = Majors::from([("nvidia".to_owned(), 195), ("nvidia-caps".to_owned(), 237)]);
        let text = print(&majors);
        let named = |wanted: &str| characters(&text).find(|(_, name)| *name == wanted);
        assert_eq!(named("nvidia"), Some((195, "nvidia")));
        assert_eq!(named("nvidia-caps"), Some((237, "nvidia-caps")));
        assert_eq!(named("loop"), None);
    }
}
