//! The log of a container that Podman's conmon writes, and containerd's CRI plugin: one line for each that the
//! container said, `2026-01-31T12:00:00.0+00:00 stdout F text`, with P where it goes on.

/// What stands in it of the container's standard output.
pub fn said(log: &str) -> String {
    let lines = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once(' ')?;
        let (kind, text) = rest.strip_prefix("stdout ")?.split_once(' ')?;
        Some(text.to_owned() + if kind == "F" { "\n" } else { "" })
    });
    lines.collect()
}
