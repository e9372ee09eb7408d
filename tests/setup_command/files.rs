//! What is the same with every engine: modes, links, folders, nobody's rights.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::json;

use crate::place::{Place, Said};

#[test]
fn owner_and_mode_stay() {
    let place = Place::new("docker", "daemon.json").with("{}");
    fs::set_permissions(place.file(), Permissions::from_mode(0o640)).unwrap();
    // Only root can give a file away; for anybody else it stays their own.
    let _ = chown(place.file(), Some(12), Some(34));
    let before = fs::metadata(place.file()).unwrap();
    place.setup(&[]).ok();
    for path in [place.file(), &place.backup()] {
        let after = fs::metadata(path).unwrap();
        let what = |of: &fs::Metadata| (of.mode(), of.uid(), of.gid());
        assert_eq!(what(&after), what(&before), "{}", path.display());
    }
}

#[test]
fn a_link_stays_one() {
    let place = Place::new("docker", "daemon.json");
    let real = place.folder.join("real.json");
    fs::write(&real, "{}").unwrap();
    symlink("real.json", place.file()).unwrap();
    let said = place.json(&[]);
    assert_eq!(said["files"][0]["file"], json!(real));
    assert!(fs::symlink_metadata(place.file()).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("oci-mig-runtime"));
    place.setup(&["--undo"]).ok();
    assert_eq!(fs::read_to_string(&real).unwrap(), "{}");
}

#[test]
fn a_link_to_nowhere_and_a_folder_are_told() {
    let place = Place::new("docker", "daemon.json");
    symlink("nowhere", place.file()).unwrap();
    place.refused(
        &[],
        3,
        "can't read P/daemon.json: No such file or directory (os error 2); nothing was changed",
    );
    fs::remove_file(place.file()).unwrap();
    fs::create_dir(place.file()).unwrap();
    place.refused(
        &[],
        3,
        "can't read P/daemon.json: not a file; nothing was changed",
    );
}

#[test]
fn a_folder_that_is_not_there_yet_is_made() {
    let place = Place::new("crio", "crio.conf.d/50-oci-mig-hook.conf");
    fs::remove_dir(place.file().parent().unwrap()).unwrap();
    place.setup(&[]).ok();
    assert!(place.text().is_some());
}

/// Somebody else may look, and is told whom to ask to write.
#[test]
fn without_root_a_dry_run_works_and_a_change_is_told() {
    let place = Place::new("docker", "daemon.json").with("{}");
    let program = place.folder.join("oci-mig-hook");
    // By another process: a file that this one has open for writing can't be run, and its threads' children inherit it.
    let copied = Command::new("cp")
        .arg(crate::place::PROGRAM)
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    fs::set_permissions(&place.folder, Permissions::from_mode(0o555)).unwrap();
    let run = |option: &[&str]| {
        // From a copy: the build's own folder may be closed to others. The wrapper lies beside it.
        let mut command = Command::new(&program);
        command
            .args(["setup", "docker", "--engine-config"])
            .arg(place.file());
        command.args(option);
        if is_root {
            command.uid(65534).gid(65534);
        }
        Said::of(&mut command)
    };
    let dry = run(&["--dry-run"]).ok();
    assert!(dry.stdout.contains("would edit:"), "{}", dry.stdout);
    let said = run(&[]);
    assert_eq!(said.code, 3);
    let line = format!(
        "oci-mig-hook: can't write {}: Permission denied (os error 13); run this as root\n",
        place.backup().display()
    );
    assert_eq!(said.stderr, line);
    assert_eq!(place.text().unwrap(), "{}");
    fs::set_permissions(place.file(), Permissions::from_mode(0o000)).unwrap();
    let unread = run(&["--dry-run"]).stderr;
    assert!(
        unread.ends_with("Permission denied (os error 13); run this as root; nothing was changed\n"),
        "{unread}"
    );
    fs::set_permissions(&place.folder, Permissions::from_mode(0o755)).unwrap();
}

/// What a script reads.
#[test]
fn json_says_all_of_it() {
    let place = Place::new("docker", "daemon.json").with("{}");
    let dry = place.json(&["--dry-run"]);
    assert_eq!((&dry["changed"], &dry["dry_run"]), (&json!(true), &json!(true)));
    let said = place.json(&[]);
    assert_eq!(
        (&said["engine"], &said["changed"]),
        (&json!("docker"), &json!(true))
    );
    let file = &said["files"][0];
    assert_eq!(
        (&file["file"], &file["change"]),
        (&json!(place.file()), &json!("edited"))
    );
    assert_eq!(file["backup"], json!(place.backup()));
    assert!(
        file["diff"].as_str().unwrap().contains("+        \"mig\": {"),
        "{file}"
    );
    let again = place.json(&[]);
    assert_eq!((&again["changed"], &again["files"]), (&json!(false), &json!([])));
    assert_eq!(place.json(&["--undo"])["files"][0]["backup"], json!(null));
}
