//! `completions`: what a shell needs to complete this program's command line.

use clap::Command;
use clap_complete::Shell;

/// Prints completions of `command` for `shell`.
///
/// # Errors
/// Standard output can't be written to.
pub fn completions(shell: Shell, command: &mut Command) -> anyhow::Result<()> {
    // Into memory first: clap_complete panics where its output can't be written.
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "oci-mig-hook", &mut script);
    super::print(&script)
}
