//! What a container sees: a shell script that runs inside, and the reading of what it says.

use std::collections::BTreeMap;
use std::fmt::Write;

/// How an attempt on a device node ended. A node whose driver is absent opens with ENXIO where the device rules
/// allow it, and with EPERM where they don't: that tells the rules apart on a machine without the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// ENXIO: allowed, and no driver behind it.
    NoDriver,
    /// EPERM: the device rules say no; of mknod, a capability is missing too.
    NotPermitted,
    /// EACCES: the node's mode says no, or its mount takes no device nodes.
    Denied,
    /// ENOENT
    Missing,
    Other(String),
}

impl Answer {
    fn read(text: &str) -> Self {
        match text {
            "" => Self::Done,
            text if text.ends_with("No such device or address") => Self::NoDriver,
            text if text.ends_with("Operation not permitted") => Self::NotPermitted,
            text if text.ends_with("Permission denied") => Self::Denied,
            // ash says it in its own words.
            text if text.ends_with("No such file or directory")
                || text.ends_with("nonexistent directory") =>
            {
                Self::Missing
            }
            text if text.ends_with("no such file") => Self::Missing,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A script of attempts; each says one line.
#[derive(Clone, Debug)]
pub struct Probe(String);

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe {
    /// Says who it is, what it has been given in its environment, and which nvidia nodes there are.
    pub fn new() -> Self {
        Self(
            r#"say() { echo "probe|$1|$2"; }
attempt() { what=$1; shift; said=$( "$@" 2>&1 ); say "$what" "$said"; }
reads() { : < "$1"; }
writes() { : 1<> "$1"; }
makes() { rm -f "/tmp/$1"; mknod "/tmp/$1" c "$2" "$3"; }
say uid "$(id -u)"
say NVIDIA_VISIBLE_DEVICES "${NVIDIA_VISIBLE_DEVICES-unset}"
for node in /dev/nvidia* /dev/nvidia-caps/*; do
    [ -c "$node" ] && say "node $node" "$(stat -c '%t:%T %a' "$node")"
done
"#
            .to_owned(),
        )
    }

    /// Opens a node for reading.
    pub fn reads(mut self, path: &str) -> Self {
        let _ = writeln!(self.0, "attempt 'reads {path}' reads {path}");
        self
    }

    /// Opens a node for reading and writing.
    pub fn writes(mut self, path: &str) -> Self {
        let _ = writeln!(self.0, "attempt 'writes {path}' writes {path}");
        self
    }

    /// Makes a node of its own, and opens that for reading.
    pub fn makes(mut self, name: &str, major: u32, minor: u32) -> Self {
        let _ = writeln!(self.0, "attempt 'makes {name}' makes {name} {major} {minor}");
        self.reads(&format!("/tmp/{name}"))
    }

    /// The whole script; it ends with a line that says so.
    pub fn script(&self) -> String {
        format!("{}say end yes\n", self.0)
    }
}

/// What a probe said.
#[derive(Debug)]
pub struct Seen(BTreeMap<String, String>);

impl Seen {
    /// Reads a probe's output, among whatever else stands there; all of it must have been said.
    #[track_caller]
    pub fn read(output: &str) -> Self {
        let lines = output
            .lines()
            .filter_map(|line| line.trim_end().strip_prefix("probe|"));
        let said: BTreeMap<_, _> = lines.filter_map(|line| line.split_once('|')).map(owned).collect();
        assert!(
            said.contains_key("end"),
            "the probe did not come to its end:\n{output}"
        );
        Self(said)
    }

    #[track_caller]
    fn get(&self, what: &str) -> &str {
        self.0
            .get(what)
            .unwrap_or_else(|| panic!("the probe said nothing of {what}: {self:?}"))
    }

    #[track_caller]
    pub fn reads(&self, path: &str) -> Answer {
        Answer::read(self.get(&format!("reads {path}")))
    }

    #[track_caller]
    pub fn writes(&self, path: &str) -> Answer {
        Answer::read(self.get(&format!("writes {path}")))
    }

    /// How making the node went, and how opening it.
    #[track_caller]
    pub fn makes(&self, name: &str) -> (Answer, Answer) {
        (
            Answer::read(self.get(&format!("makes {name}"))),
            self.reads(&format!("/tmp/{name}")),
        )
    }

    #[track_caller]
    pub fn uid(&self) -> u32 {
        self.get("uid").parse().expect("a number")
    }

    /// The variable's value, or nothing where it is not set.
    pub fn visible_devices(&self) -> Option<&str> {
        Some(self.get("NVIDIA_VISIBLE_DEVICES")).filter(|value| *value != "unset")
    }

    /// The nvidia nodes: path, and `major:minor` and mode as numbers.
    pub fn nodes(&self) -> BTreeMap<&str, (u32, u32, u32)> {
        let nodes = self
            .0
            .iter()
            .filter_map(|(what, value)| Some((what.strip_prefix("node ")?, value)));
        nodes
            .map(|(path, value)| (path, numbers(value).unwrap_or_else(|| panic!("{path}: {value}"))))
            .collect()
    }
}

/// `c3:fe 666`, as stat prints it: hex, hex, octal.
fn numbers(text: &str) -> Option<(u32, u32, u32)> {
    let (device, mode) = text.split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    let hex = |digits| u32::from_str_radix(digits, 16).ok();
    Some((hex(major)?, hex(minor)?, u32::from_str_radix(mode, 8).ok()?))
}

fn owned((what, value): (&str, &str)) -> (String, String) {
    (what.to_owned(), value.to_owned())
}
