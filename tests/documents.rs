//! What is written for operators says what is true: README and man page name every key, the hook files are of use.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words that a message offers in backquotes after "expected".
fn offered(config: &str) -> BTreeSet<String> {
    let file = std::env::temp_dir().join(format!("oci-mig-hook-documents-{}.toml", std::process::id()));
    std::fs::write(&file, config).unwrap();
    let hook = env!("CARGO_BIN_EXE_oci-mig-hook");
    let output = Command::new(hook)
        .args(["status", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(output.status.code(), Some(3));
    let message = String::from_utf8(output.stderr).unwrap();
    let (_, expected) = message
        .split_once("expected")
        .unwrap_or_else(|| panic!("{message}"));
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn readme_and_man_page_name_every_configuration_key() {
    let (readme, man) = (read("README.md"), read("packaging/man/oci-mig-hook.1"));
    let mut keys = BTreeSet::new();
    for top in offered("no-such-key = 1") {
        let table = format!("[{top}]\nno-such-key = 1");
        let is_table =
            !["allow_privileged", "guard", "mask_proc", "unmanaged", "version"].contains(&top.as_str());
        match is_table {
            true => keys.extend(offered(&table).into_iter().map(|key| format!("{top}.{key}"))),
            false => drop(keys.insert(top)),
        }
    }
    assert!(keys.len() >= 10, "{keys:?}");
    for key in keys {
        assert!(
            readme.contains(&format!("| `{key}` |")),
            "README.md says nothing of {key}"
        );
        assert!(
            man.contains(&format!(".It Sy {key}\n")),
            "the man page says nothing of {key}"
        );
    }
}

#[test]
fn readme_and_man_page_name_every_annotation() {
    let hook = env!("CARGO_BIN_EXE_oci-mig-hook");
    let document = r#"{"annotations":{"mig.nonsense":"1"}}"#;
    let mut child = Command::new(hook)
        .arg("precreate")
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), document.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    let (_, known) = message
        .split_once("there are ")
        .unwrap_or_else(|| panic!("{message}"));
    let (readme, man) = (read("README.md"), read("packaging/man/oci-mig-hook.1"));
    for key in known.trim().split(", ") {
        assert!(key.starts_with("mig."), "{message}");
        assert!(
            readme.contains(&format!("`{key}`")),
            "README.md says nothing of {key}"
        );
        assert!(
            man.contains(&format!(".It Sy {key}\n")),
            "the man page says nothing of {key}"
        );
    }
}

/// The variables that ask, and where a runtime is looked for, as the programs themselves have them.
#[test]
fn the_runtimes_man_page_names_its_variables_and_folders() {
    let man = read("packaging/man/oci-mig-runtime.1");
    let keys = read("src/request/keys.rs");
    let words = keys
        .lines()
        .filter_map(|line| line.split_once("\"mig.")?.1.split_once("\";"));
    let words: BTreeSet<&str> = words
        .map(|(word, _)| word)
        .filter(|word| !["", "lease"].contains(word))
        .collect();
    assert!(words.len() == 7 && words.contains("profile"), "{words:?}");
    for word in words {
        let variable = format!("MIG_{}", word.to_ascii_uppercase());
        assert!(man.contains(&variable), "the man page says nothing of {variable}");
    }
    let config = read("src/config/mod.rs");
    let (_, folders) = config.split_once("const RUNTIME_FOLDERS").expect("the folders");
    let folders = folders.split_once("];").expect("the folders").0;
    for folder in folders.split('"').filter(|text| text.starts_with('/')) {
        assert!(man.contains(folder), "the man page says nothing of {folder}");
    }
}

/// What goes into a container is told of, and compared with NVIDIA's own lists.
#[test]
fn the_page_of_the_drivers_files_names_each_of_them() {
    let page = read("packaging/doc/driver-files.md");
    let table: toml::Table = read("src/host/driver/files.toml").parse().expect("TOML");
    for (capability, group) in table["group"].as_table().expect("groups") {
        assert!(
            page.contains(&format!("| `{capability}` |")),
            "nothing of {capability}"
        );
        let lists = ["libraries", "named", "programs", "sockets"];
        for name in lists.iter().flat_map(|list| {
            group
                .get(list)
                .and_then(|list| list.as_array())
                .into_iter()
                .flatten()
        }) {
            let name = name.as_str().expect("a name");
            let name = name.strip_suffix(".so.4").unwrap_or(name);
            assert!(page.contains(name), "nothing of {name}");
        }
        for link in group
            .get("links")
            .and_then(|links| links.as_table())
            .into_iter()
            .flat_map(|links| links.keys())
        {
            assert!(page.contains(&format!("`{link}`")), "nothing of {link}");
        }
    }
    for word in ["README.md", "packaging/man/oci-mig-hook.1"] {
        assert!(read(word).contains("NVIDIA_DRIVER_CAPABILITIES"), "{word}");
    }
}

/// An entry with an empty `env` would get the runtime's environment, and a relative path is looked up somewhere.
#[test]
fn every_hook_file_has_an_absolute_path_and_an_environment() {
    let of_folder = [
        "hooks/podman/oci-mig-hook.json",
        "hooks/crio/oci-mig-hook-createRuntime.json",
        "hooks/crio/oci-mig-hook-poststop.json",
    ];
    for file in of_folder {
        let json: Value = serde_json::from_str(&read(file)).unwrap();
        assert_eq!(json["version"], "1.0.0", "{file}");
        let stage = json["stages"][0].as_str().unwrap();
        assert_hook(&json["hook"], stage, file);
        let pattern = json["when"]["annotations"]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap();
        assert!(
            pattern.starts_with('^') && pattern.ends_with('$') && pattern.contains("\\."),
            "{file}: {pattern}"
        );
        let shared = !file.starts_with("hooks/podman");
        assert!(!(shared && stage == "precreate"), "{file}: CRI-O would not start");
    }
    let fragment: Value = serde_json::from_str(&read("hooks/runc/config-fragment.json")).unwrap();
    for (stage, entries) in fragment["hooks"].as_object().unwrap() {
        assert_hook(&entries[0], stage, "hooks/runc/config-fragment.json");
    }
}

/// The guard's entry is for every container, and Podman's alone like the other.
#[test]
fn the_guard_s_hook_file_is_for_every_container() {
    let file = "hooks/podman/oci-mig-hook-guard.json";
    let json: Value = serde_json::from_str(&read(file)).unwrap();
    assert_eq!(json["when"], serde_json::json!({"always": true}));
    assert_eq!(json["stages"], serde_json::json!(["precreate"]));
    let mut hook = json["hook"].clone();
    assert_eq!(hook["args"].as_array_mut().unwrap().pop().unwrap(), "--guard");
    assert_hook(&hook, "precreate", file);
}

/// Every engine knows the runtime by the same name and calls the same program.
#[test]
fn every_runtime_file_names_the_wrapper() {
    const WRAPPER: &str = "/usr/bin/oci-mig-runtime";
    let docker: Value = serde_json::from_str(&read("hooks/docker/daemon.json")).unwrap();
    assert_eq!(
        docker,
        serde_json::json!({"runtimes": {"mig": {"path": WRAPPER}}})
    );
    for (file, version, cri) in [
        ("hooks/containerd/config-v2.toml", 2, "io.containerd.grpc.v1.cri"),
        (
            "hooks/containerd/config-v3.toml",
            3,
            "io.containerd.cri.v1.runtime",
        ),
    ] {
        let toml: toml::Table = toml::from_str(&read(file)).unwrap();
        assert_eq!(toml["version"].as_integer(), Some(version), "{file}");
        let mig = &toml["plugins"][cri]["containerd"]["runtimes"]["mig"];
        assert_eq!(mig["options"]["BinaryName"].as_str(), Some(WRAPPER), "{file}");
        // containerd matches with path.Match: a star stops at a slash.
        let both = ["mig.*", "mig.*/*"].map(toml::Value::from);
        assert_eq!(mig["pod_annotations"].as_array().unwrap(), &both, "{file}");
    }
    let crio: toml::Table = toml::from_str(&read("hooks/crio/50-oci-mig-hook.conf")).unwrap();
    let mig = &crio["crio"]["runtime"]["runtimes"]["mig"];
    assert_eq!(mig["runtime_path"].as_str(), Some(WRAPPER));
    assert_eq!(
        mig.get("allowed_annotations"),
        None,
        "CRI-O drops a runtime with a foreign word there"
    );
    assert!(read("hooks/nerdctl/README.md").contains(&format!("--runtime {WRAPPER} --annotation mig.")));
}

fn assert_hook(hook: &Value, stage: &str, file: &str) {
    assert!(hook["path"].as_str().unwrap().starts_with('/'), "{file}");
    assert!(!hook["env"].as_array().unwrap().is_empty(), "{file}");
    assert_eq!(hook["args"], serde_json::json!(["oci-mig-hook", stage]), "{file}");
}

/// mig-parted's hook calls what there is, and never makes its caller fail: this machine may have no driver.
#[test]
fn the_hook_for_mig_parted_runs() {
    let text = read("hooks/mig-parted/hooks.yaml");
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key));
        serde_json::from_str::<Value>(line.unwrap_or_else(|| panic!("no {key}"))).unwrap()
    };
    let script = value("args:")[1].as_str().unwrap().to_owned();
    assert!(text.contains("\nversion: v1\nhooks:\n  apply-exit:\n"), "{text}");
    assert!(script.contains("/usr/bin/oci-mig-hook refresh"), "{script}");
    let config = std::env::temp_dir().join(format!("oci-mig-hook-mig-parted-{}.toml", std::process::id()));
    std::fs::write(
        &config,
        "[driver]\nproc = \"/nonexistent\"\n[ledger]\ndir = \"/nonexistent/ledger\"\n",
    )
    .unwrap();
    let ours = format!(
        "{} --config {}",
        env!("CARGO_BIN_EXE_oci-mig-hook"),
        config.display()
    );
    let output = Command::new(value("command:").as_str().unwrap())
        .args([
            value("args:")[0].as_str().unwrap(),
            &script.replace("/usr/bin/oci-mig-hook", &ours),
        ])
        .output()
        .unwrap();
    std::fs::remove_file(&config).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.contains("/nonexistent/ledger"),
        "{said}"
    );
}
