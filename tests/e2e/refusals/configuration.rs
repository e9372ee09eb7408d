//! A configuration file that can't be used: its name, the line or the key, and what would be right.

use std::fs;

use super::{ASKS, HOST, assert_says, config, refuses, state};
use crate::support::machine::{Machine, PROGRAM};
use crate::support::process::run_with;

const REMEDY: &str = "correct it; every key is explained in oci-mig-hook(1)";

#[test]
fn what_stands_in_it_is_wrong() {
    let machine = Machine::named("one-gpu");
    let right = fs::read_to_string(machine.config()).expect("config.toml");
    for (text, why) in [
        (
            "[nvml]\nlibary = \"/x\"\n",
            "line 2: unknown field `libary`, expected one of `library`, `deadline`, `avoid`",
        ),
        (
            "allow_priviledged = true\n",
            "line 1: unknown field `allow_priviledged`, expected one of `version`, `allow_privileged`, `mask_proc`, `guard`, \
             `unmanaged`, `driver`, `nvml`, `ledger`, `lease`, `limits`, `requests`, `runtime`",
        ),
        (
            "guard = \"on\"\n",
            "line 1: unknown variant `on`, expected one of `off`, `warn`, `refuse`, `strip`",
        ),
        ("\n[ledger\ndir = 1\n", "line 2: unclosed table, expected `]`"),
        (
            "allow_privileged = \"no\"\n",
            "line 1: invalid type: string \"no\", expected a boolean",
        ),
        (
            "[nvml]\ndeadline = \"soon\"\n",
            "nvml.deadline = \"soon\" is not a length of time like \"10s\"",
        ),
        (
            "[lease]\npending = \"0s\"\n",
            "lease.pending = \"0s\" is not a length of time like \"2m\"",
        ),
        (
            "[ledger]\ndir = \"run\"\n",
            "ledger.dir = \"run\" is not an absolute path",
        ),
        (
            "[limits]\ndevices = -1\n",
            "line 2: invalid value: integer `-1`, expected u32",
        ),
    ] {
        fs::write(machine.config(), text).expect("config.toml");
        let line = format!(
            "configuration file {}: {why}; {REMEDY}",
            machine.config().display()
        );
        refuses(&machine, ASKS, HOST, &line);
        // Every stage of a container that asked needs to know where the ledger is.
        for stage in ["createRuntime", "prestart", "poststop"] {
            assert_says(&machine.stage(stage, &state(ASKS).to_string()), HOST, &line);
        }
    }
    fs::write(machine.config(), right).expect("config.toml");
    super::serves(&machine);
}

#[test]
fn the_named_file_can_not_be_read() {
    let machine = Machine::named("one-gpu");
    let line = |why: &str| {
        format!(
            "configuration file {}: {why}; {REMEDY}",
            machine.config().display()
        )
    };
    fs::remove_file(machine.config()).expect("no config.toml");
    refuses(
        &machine,
        ASKS,
        HOST,
        &line("No such file or directory (os error 2)"),
    );
    fs::create_dir(machine.config()).expect("a folder");
    refuses(&machine, ASKS, HOST, &line("Is a directory (os error 21)"));
    fs::remove_dir(machine.config()).expect("no folder");
    fs::write(machine.config(), b"\xff\xfe").expect("a file");
    refuses(&machine, ASKS, HOST, &line("stream did not contain valid UTF-8"));
}

/// Hook entries repeat it, and a runtime starts hooks in whatever folder it likes.
#[test]
fn a_relative_name_is_made_absolute_for_the_hooks() {
    let machine = Machine::named("one-gpu");
    let mut command = std::process::Command::new(PROGRAM);
    command
        .args(["precreate", "--config", "config.toml"])
        .current_dir(machine.dir());
    let outcome = run_with(&mut command, &config(ASKS).to_string()).ok();
    let spec: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("config.json");
    let named = machine.config();
    assert_eq!(
        spec["hooks"]["poststop"][0]["args"][3],
        named.to_str().expect("a path of ours")
    );
}
