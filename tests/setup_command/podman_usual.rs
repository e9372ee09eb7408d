//! Podman's files in their usual places, on an /etc/containers and a /usr/share of the test's own: a mount namespace.

use std::process::Command;

use crate::place::{PROGRAM, Said};

const DROP_IN: &str = "/etc/containers/containers.conf.d/50-oci-mig-hook.conf";

/// Runs a script where both folders are empty. `$HOOK` is the program.
#[track_caller]
fn inside(script: &str) -> String {
    let ground = "mount -t tmpfs tmpfs /usr/share && mount -t tmpfs tmpfs /etc/containers\n\
                  mkdir /usr/share/containers /etc/containers/containers.conf.d\n";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-eu", "-c"])
        .arg(format!("{ground}{script}"));
    Said::of(command.env("HOOK", PROGRAM)).ok().stdout
}

#[test]
fn a_drop_in_and_a_folder_come_and_go() {
    let said = inside(
        "$HOOK setup podman >/dev/null; find /usr/share /etc/containers -type f | sort; \
         cat /etc/containers/containers.conf.d/*; $HOOK setup podman --undo >/dev/null; find /usr/share /etc/containers",
    );
    let shipped = include_str!("../../hooks/podman/50-oci-mig-hook.conf");
    assert_eq!(
        said,
        format!(
            "{DROP_IN}\n/usr/share/oci-mig-hook/podman-hooks.d/oci-mig-hook.json\n{shipped}\
             /usr/share\n/usr/share/containers\n/etc/containers\n/etc/containers/containers.conf.d\n"
        )
    );
}

/// A drop-in of ours would put another list in the stead of theirs: theirs is added to, wherever Podman takes it from.
#[test]
fn a_list_of_the_administrator_s_is_added_to() {
    for file in [
        "containers.conf",
        "containers.conf.d/40-mine.conf",
        "containers.conf.d/60-mine.conf",
    ] {
        let said = inside(&format!(
            "cd /etc/containers; printf '[engine]\\nhooks_dir = [\"/first\"]\\n' > containers.conf\n\
             printf '[engine]\\nhooks_dir = [\"/srv\"] # mine\\n' > {file}; cp -r . /usr/share/before\n\
             $HOOK setup podman > /dev/null; cat {file}; ls containers.conf.d\n\
             $HOOK setup podman --undo > /dev/null; diff -r . /usr/share/before"
        ));
        let list = "[engine]\nhooks_dir = [\"/srv\", \"/usr/share/oci-mig-hook/podman-hooks.d\"] # mine\n";
        assert!(said.starts_with(list), "{file}: {said}");
        assert!(!said.contains("50-oci-mig-hook.conf"), "{file}: {said}");
    }
}

/// One that comes later and has a list of its own would hide ours: the next run finds it.
#[test]
fn a_list_that_came_later_is_added_to() {
    let said = inside(
        "cd /etc/containers/containers.conf.d; $HOOK setup podman > /dev/null\n\
         printf '[engine]\\nhooks_dir = [\"/late\"]\\n' > 60-late.conf; cp 60-late.conf /usr/share/late\n\
         $HOOK setup podman > /dev/null; cat 60-late.conf; $HOOK setup podman | head -n 1\n\
         $HOOK setup podman --undo > /dev/null; ls; cmp 60-late.conf /usr/share/late",
    );
    assert_eq!(
        said,
        "[engine]\nhooks_dir = [\"/late\", \"/usr/share/oci-mig-hook/podman-hooks.d\"]\n\
         unchanged:    Podman has the hook of /usr/share/oci-mig-hook/podman-hooks.d already\n60-late.conf\n"
    );
}

/// The distribution's file isn't the administrator's to change: a drop-in repeats its list.
#[test]
fn the_distribution_s_list_is_repeated() {
    let said = inside(
        "printf '[engine]\\nhooks_dir = [\"/distro\"]\\n' > /usr/share/containers/containers.conf\n\
         $HOOK setup podman > /dev/null; grep '\"' /etc/containers/containers.conf.d/*\n\
         $HOOK setup podman --undo > /dev/null; ls /etc/containers/containers.conf.d",
    );
    assert_eq!(
        said,
        "  \"/distro\",\n  \"/usr/share/oci-mig-hook/podman-hooks.d\",\n"
    );
}
