//! Podman's hooks folder, in one containers.conf that is named.

use std::fs;

use serde_json::{Value, json};

use crate::place::{PROGRAM, Place};

fn place() -> Place {
    Place::new("podman", "containers.conf")
}

fn hook(place: &Place, name: &str) -> Value {
    let text = fs::read_to_string(place.folder.join("hooks").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn folders(text: &str) -> Vec<String> {
    let all: toml::Table = toml::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
    let list = all["engine"]["hooks_dir"].as_array().unwrap().iter();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[test]
fn there_and_back() {
    let usual = ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"];
    let one_line = "[engine]\nhooks_dir = [\"/srv/hooks\"] # ours\nevents_logger = \"file\"\n";
    let lines = "[containers]\n\n[engine]\n  hooks_dir = [\n    \"/srv/hooks\", # ours\n  ]\n# end";
    let appending = "[engine]\nhooks_dir = [\"/srv/hooks\", {append=true}]\n";
    for (text, before) in [
        (None, &usual[..]),
        (Some(""), &usual),
        (Some("# nothing yet\n"), &usual),
        (Some("[containers]\npids_limit = 0"), &usual),
        (
            Some("[engine] # here\nevents_logger = \"file\"\n[network]\n"),
            &usual,
        ),
        (Some(one_line), &["/srv/hooks"]),
        (Some(lines), &["/srv/hooks"]),
        (Some(appending), &["/srv/hooks"]),
    ] {
        let place = match text {
            Some(text) => place().with(text),
            None => place(),
        };
        place.there_and_back(|after| {
            let ours = place.folder.join("hooks").display().to_string();
            let before: Vec<String> = before.iter().map(|folder| folder.to_string()).collect();
            assert_eq!(folders(after), [before, vec![ours]].concat());
            let hook = hook(&place, "oci-mig-hook.json");
            assert_eq!(hook["hook"]["path"], json!(PROGRAM));
            assert_eq!(hook["hook"]["args"], json!(["oci-mig-hook", "precreate"]));
            assert_eq!(hook["stages"], json!(["precreate"]));
        });
    }
}

#[test]
fn edits_since_outlive_setup_and_undo() {
    let place = place();
    place.setup(&[]).ok();
    let hook_file = place.folder.join("hooks/oci-mig-hook.json");
    let edited = fs::read_to_string(&hook_file)
        .unwrap()
        .replace("\"env\"", "\"timeout\": 30, \"env\"");
    fs::write(&hook_file, &edited).unwrap();
    let list = place.text().unwrap().replace(
        "  \"/etc/containers/oci/hooks.d\",\n",
        "  \"/srv/hooks\", # mine\n",
    );
    fs::write(place.file(), &list).unwrap();
    assert_eq!(place.json(&[])["changed"], json!(false));
    assert_eq!(fs::read_to_string(&hook_file).unwrap(), edited);
    place.setup(&["--undo"]).ok();
    let ours = format!("  \"{}\",\n", place.folder.join("hooks").display());
    assert_eq!(place.text().unwrap(), list.replace(&ours, ""));
    assert!(!hook_file.exists());
}

#[test]
fn config_and_guard_are_in_the_hooks_arguments() {
    let place = place();
    let config = place.folder.join("own.toml");
    fs::write(&config, "").unwrap();
    let config = config.to_str().unwrap();
    place.setup(&["--guard", "--config", config]).ok();
    let args = json!(["oci-mig-hook", "precreate", "--config", config]);
    assert_eq!(hook(&place, "oci-mig-hook.json")["hook"]["args"], args);
    let guard = hook(&place, "oci-mig-hook-guard.json");
    let args = json!(["oci-mig-hook", "precreate", "--guard", "--config", config]);
    assert_eq!(
        (&guard["hook"]["args"], &guard["when"]),
        (&args, &json!({"always": true}))
    );
    assert_eq!(
        place.json(&["--guard"])["changed"],
        json!(false),
        "a config that is there stays"
    );
    place.setup(&["--undo"]).ok();
    let left: Vec<_> = fs::read_dir(place.folder.join("hooks")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_not_ours_stays() {
    let place = place().with("[engine]\nhooks_dir = \"/srv/hooks\"\n");
    let line = "P/containers.conf can't be added to: its [engine] or hooks_dir is written in a way that this program can't change; add P/hooks to hooks_dir by hand; nothing was changed";
    place.refused(&[], 1, line);
    fs::write(place.file(), "engine = { events_logger = \"file\" }\n").unwrap();
    place.refused(&[], 1, line);
    fs::write(place.file(), "[engine]\nhooks_dir = [\"/srv\"\n").unwrap();
    place.refused(
        &["--undo"],
        3,
        "P/containers.conf is not TOML: line 2: unclosed array, expected `]`; correct it first; nothing was changed",
    );
    fs::write(place.file(), "").unwrap();
    fs::create_dir(place.folder.join("hooks")).unwrap();
    let theirs = "{\"hook\": {\"path\": \"/bin/true\", \"args\": []}}";
    fs::write(place.folder.join("hooks/oci-mig-hook.json"), theirs).unwrap();
    let line =
        "P/hooks/oci-mig-hook.json is not ours: it calls /bin/true; move it away first; nothing was changed";
    place.refused(&[], 1, line);
    place.refused(&["--undo"], 1, line);
}

/// CRI-O doesn't start with a precreate hook in a folder that it reads.
#[test]
fn a_folder_that_others_read_is_refused() {
    place().refused(
        &["--hooks-dir", "/etc/containers/oci/hooks.d/"],
        1,
        "no precreate hook for /etc/containers/oci/hooks.d/: CRI-O would not start with it; use a folder that only Podman reads",
    );
}
