//! A hook entry's arguments.

use std::path::PathBuf;

use crate::edits::device::{
    CONFIG_ARGUMENT, DEVICES_ARGUMENT, HOOKS_ARGUMENT, MOUNTS_ARGUMENT, NODES_ARGUMENT, OTHERS_ARGUMENT,
    VARIABLE_ARGUMENT,
};
use crate::mig::DeviceName;

/// What an engine's hook entry passes to a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--devices UUID,...`: what was edited into the container. Only in hook entries that we wrote.
    pub devices: Option<Vec<DeviceName>>,
    /// `--guard`: judge a container that did not ask, and leave any other to the entry without it.
    pub guard: bool,
}

impl Options {
    /// Reads a hook entry's arguments; none where there is anything that hook entries don't have. It is here, and
    /// not in the command line's types, because a container that didn't ask pays for every instruction.
    pub fn from_hook_arguments<'a>(mut args: impl Iterator<Item = &'a str>) -> Option<Options> {
        let mut options = Options::default();
        while let Some(name) = args.next() {
            if name == "--guard" {
                options.guard = true;
                continue;
            }
            let value = args.next()?;
            match name {
                CONFIG_ARGUMENT => options.config = Some(value.into()),
                DEVICES_ARGUMENT => {
                    let devices = value.split(',').map(|uuid| uuid.parse().ok());
                    options.devices = Some(devices.collect::<Option<_>>()?);
                }
                // Said for whoever takes the edits out again; a stage has the lease.
                NODES_ARGUMENT | MOUNTS_ARGUMENT | HOOKS_ARGUMENT | VARIABLE_ARGUMENT | OTHERS_ARGUMENT => {}
                _ => return None,
            }
        }
        Some(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Options> {
        Options::from_hook_arguments(line.split_whitespace())
    }

    #[test]
    fn what_our_hook_entries_have_is_read_and_anything_else_is_left_to_the_command_line() {
        let uuid = "MIG-1a2b3c4d-0000-5000-8000-0123456789ab";
        let options = read(&format!(
            "--config /x.toml --devices {uuid},{uuid} --nodes /dev/x=1:2:r --mounts 0f --hooks 0f --env A=b --env C=d --others none"
        ))
        .unwrap();
        assert_eq!(options.config.unwrap(), PathBuf::from("/x.toml"));
        assert_eq!(options.devices.unwrap().len(), 2);
        assert_eq!(read(""), Some(Options::default()));
        for line in ["--guard --config /x.toml", "--config /x.toml --guard"] {
            let options = read(line).unwrap();
            assert_eq!(
                (options.guard, options.config),
                (true, Some(PathBuf::from("/x.toml")))
            );
        }
        for line in [
            "--help",
            "--config",
            "--devices nonsense",
            "--config=/x.toml",
            "x y",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
