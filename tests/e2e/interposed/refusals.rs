//! What the interposed runtime refuses: one line where the engine looks for it (standard error and the log that it named,
//! in its format), the right exit code, nothing reserved, and config.json as it was.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{PROFILE, asking, somewhere};
use crate::support::bundle::Bundle;
use crate::support::machine::{CONFIG_VARIABLE, INTERPOSED, Machine};
use crate::support::process::{Outcome, run};
use crate::support::rootfs::SLEEP;
use crate::support::scratch::Scratch;

const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const HOST: i32 = 3;

/// `create` of this bundle is refused so, and nothing has changed.
#[track_caller]
fn refuses(machine: &Machine, bundle: &Bundle, code: i32, line: &str) {
    let before = fs::read(bundle.config_file()).expect("config.json");
    let mut create = machine.interposed();
    let outcome = run(create.args(["create", "-b"]).arg(bundle.folder()).arg("c"));
    assert_says(&outcome, code, line);
    assert!(
        before == fs::read(bundle.config_file()).expect("config.json"),
        "config.json has changed"
    );
    assert_eq!(
        fs::read_dir(bundle.folder()).expect("the bundle").count(),
        1,
        "something is left in the bundle"
    );
    assert_eq!(machine.leases(), 0);
}

#[track_caller]
fn assert_says(outcome: &Outcome, code: i32, line: &str) {
    assert_eq!(outcome.stderr, format!("oci-mig-hook: {line}\n"), "{outcome}");
    assert_eq!((outcome.code(), outcome.stdout.as_str()), (code, ""), "{outcome}");
}

#[test]
fn in_the_log_that_the_engine_named_and_in_its_format() {
    let place = somewhere(1);
    let bundle = Bundle::new().annotation("mig.profile", "1h.10gb").write();
    let line = "oci-mig-hook: mig.profile=1h.10gb: is not a profile; write a profile: 1g.10gb, 1c.3g.40gb, 1g.10gb+me; or gpu, for a whole GPU";
    let logs = Scratch::new("log");
    let attempt = |log: &Path, format: &str| {
        let mut create = place.machine.interposed();
        create.arg("--log").arg(log).arg(format!("--log-format={format}"));
        let outcome = run(create.args(["create", "-b"]).arg(bundle.folder()).arg("c"));
        assert_eq!((outcome.code(), outcome.stderr), (USAGE, format!("{line}\n")));
        fs::read_to_string(log).expect("a log")
    };
    assert_eq!(attempt(&logs.join("text"), "text"), format!("{line}\n"));
    let json = logs.file("json", "{\"level\":\"info\",\"msg\":\"was there\"}\n");
    let records = attempt(&json, "json");
    let last: Value = serde_json::from_str(records.lines().nth(1).expect("a second record")).expect("JSON");
    assert_eq!(
        (&last["level"], &last["msg"]),
        (&"error".into(), &line.into()),
        "{records}"
    );
}

#[test]
fn a_restore_of_a_container_that_asks() {
    let place = somewhere(1);
    // runc makes what isn't there.
    let images = Scratch::new("images");
    let restore = |bundle: &Bundle| {
        let mut restore = place.machine.interposed();
        restore
            .arg("restore")
            .arg("--image-path")
            .arg(images.join("none"));
        restore
            .arg("--work-path")
            .arg(images.path())
            .arg("-b")
            .arg(bundle.folder());
        run(restore.arg("c"))
    };
    let line = "no restore of a container that asks for a MIG device: it would come back with the device that it had at \
                its checkpoint, which may be another's now; start it anew";
    assert_says(&restore(&asking("true").write()), REFUSED, line);
    let other = restore(&Bundle::new().write()).failed();
    assert!(
        !other.stderr.contains("oci-mig-hook"),
        "the real runtime says what it likes: {other}"
    );
}

#[test]
fn a_runtime_that_cannot_be_run() {
    let folder = Scratch::new("real");
    let machine = Machine::with(&[PROFILE]);
    let broken = folder.program("broken", "#!/no/such/interpreter\n");
    machine.stand_before(&broken);
    let line = format!(
        "can't run the low-level runtime {}: No such file or directory (os error 2); runtime.path in the configuration names it; see whether it is there and can be executed",
        broken.display()
    );
    let bundle = asking("true").write();
    refuses(&machine, &bundle, HOST, &line);
    let mut delete = machine.interposed();
    assert_says(&run(delete.args(["delete", "c"])), HOST, &line);
    fs::remove_file(&broken).expect("a file of ours");
    refuses(&machine, &bundle, HOST, &line);
}

#[test]
fn itself_in_the_real_runtimes_place() {
    let machine = Machine::with(&[PROFILE]);
    let folder = Scratch::new("link");
    let link = folder.join("runc");
    std::os::unix::fs::symlink(INTERPOSED, &link).expect("a link");
    machine.stand_before(&link);
    let line = format!(
        "runtime.path = \"{}\": that is oci-mig-runtime itself; name the runtime that it shall stand before: crun or runc",
        link.display()
    );
    refuses(&machine, &asking("true").write(), HOST, &line);
}

#[test]
fn a_configuration_that_cannot_be_read() {
    let machine = Machine::with(&[PROFILE]);
    let mut relative = machine.interposed();
    relative.env(CONFIG_VARIABLE, "config.toml");
    let line =
        "OCI_MIG_HOOK_CONFIG=config.toml: it is not an absolute path; correct it in the engine's environment";
    assert_says(&run(relative.args(["state", "c"])), HOST, line);
    machine.configure("runtime.pth", "\"/usr/bin/runc\"");
    let bundle = asking("true").write();
    let outcome = run(machine
        .interposed()
        .args(["create", "-b"])
        .arg(bundle.folder())
        .arg("c"));
    assert_eq!(outcome.code(), HOST);
    assert!(
        outcome.stderr.contains("unknown field `pth`, expected `path`"),
        "{outcome}"
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
}

/// It makes no container, and those that there are can be stopped and deleted all the same.
#[test]
fn a_configuration_that_is_wrong_somewhere() {
    let place = somewhere(1);
    let bundle = asking(SLEEP).write();
    let mut container = place.engine.container(&bundle);
    container.create().ok();
    place.machine.configure("limits.devises", "8");
    assert_eq!(container.status(), "created");
    let other = Bundle::new().write();
    let refused = place.engine.container(&other).create();
    assert_eq!(refused.code(), HOST, "{refused}");
    assert!(refused.stderr.contains("unknown field `devises`"), "{refused}");
    container.delete(true).ok();
    assert_eq!(container.status(), "gone");
}

#[test]
fn a_bundle_that_cannot_be_written() {
    let place = somewhere(1);
    let bundle = asking("true").write();
    let folder = bundle.folder().display().to_string();
    let script =
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec \"$2\" create -b \"$1\" c";
    let mut command = std::process::Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        &folder,
        INTERPOSED,
    ]);
    let outcome = run(command.env(CONFIG_VARIABLE, place.machine.config()));
    let line = format!(
        "can't write {folder}/config.json: Read-only file system (os error 30); the bundle's folder must be writable, and its file system have room"
    );
    assert_says(&outcome, HOST, &line);
    assert_eq!(place.machine.leases(), 0);
}

#[test]
fn a_lease_that_somebody_else_wrote_into_it() {
    let place = somewhere(1);
    let bundle = asking("true").annotation("mig.lease", &"0".repeat(32)).write();
    let line = "annotation mig.lease: this container's config has it without our hooks beside it; remove it: it is written by oci-mig-hook alone";
    refuses(&place.machine, &bundle, USAGE, line);
}

/// Two ledgers could give one device twice.
#[test]
fn a_container_whose_lease_is_in_another_ledger() {
    let place = somewhere(1);
    let bundle = asking(SLEEP).write();
    let mut container = place.engine.container(&bundle);
    container.create().ok();
    let folder = Scratch::new("config");
    let text = fs::read_to_string(place.machine.config()).expect("config.toml");
    let ledgers = [place.machine.ledger(), folder.join("other")].map(|ledger| ledger.display().to_string());
    let other = folder.file("config.toml", &text.replace(&ledgers[0], &ledgers[1]));
    let attempt = || {
        let mut create = place.machine.interposed();
        create.env(CONFIG_VARIABLE, &other);
        run(create.args(["create", "-b"]).arg(bundle.folder()).arg("c"))
    };
    let line = format!(
        "this container's lease is in another ledger: {} has it in {}, and this call goes by {}; let the hooks and \
         oci-mig-runtime go by one configuration (README, Configuration)",
        place.machine.config().display(),
        ledgers[0],
        ledgers[1]
    );
    assert_says(&attempt(), HOST, &line);
    container.delete(true).ok();
    // Nothing is left there: the bundle may be used by whoever likes.
    let mut create = place.engine.container_named("c", &bundle).command("create");
    run(create
        .env(CONFIG_VARIABLE, &other)
        .arg("-b")
        .arg(bundle.folder())
        .arg("c"))
    .ok();
    let mut delete = place.engine.container_named("c", &bundle).command("delete");
    run(delete.env(CONFIG_VARIABLE, &other).args(["--force", "c"])).ok();
}

#[test]
fn an_environment_that_does_not_parse() {
    let place = somewhere(1);
    place.machine.configure("requests.environment", "true");
    let bundle = Bundle::new().env("MIG_PROFILE", "big").write();
    let line = "MIG_PROFILE=big: is not a profile; write a profile: 1g.10gb, 1c.3g.40gb, 1g.10gb+me; or gpu, for a whole GPU";
    refuses(&place.machine, &bundle, USAGE, line);
    let bundle = Bundle::new()
        .env("MIG_PROFILE", "1g.10gb")
        .env("MIG_MEMORY", "9GB")
        .write();
    let line = "MIG_PROFILE and MIG_MEMORY: a profile says both memory and compute; remove MIG_PROFILE, or MIG_MEMORY";
    refuses(&place.machine, &bundle, USAGE, line);
}

#[test]
fn a_call_that_runtimes_read_differently() {
    let place = somewhere(1);
    let bundle = asking("true").write();
    let mut create = place.machine.interposed();
    create
        .arg("create")
        .arg(format!("-b={}", bundle.folder().display()));
    let line = "this call can be read in two ways: '-b=x' is the folder x to runc and '=x' to crun; write --bundle FOLDER and an id";
    assert_says(&run(create.arg("c")), USAGE, line);
    assert_eq!(place.machine.leases(), 0);
}

#[test]
fn a_container_that_runs_already() {
    let place = somewhere(2);
    let bundle = asking(SLEEP).write();
    let mut container = place.engine.container(&bundle);
    container.create().ok();
    let before = fs::read(bundle.config_file()).expect("config.json");
    let again = run(container
        .command("create")
        .arg("-b")
        .arg(bundle.folder())
        .arg(container.id()));
    let line = format!(
        "container {} is not made again: a container of that id runs, and has its device; delete it first, or choose another id",
        container.id()
    );
    assert_says(&again, REFUSED, &line);
    assert_eq!(place.machine.taken().len(), 1, "no second device");
    assert!(
        before == fs::read(bundle.config_file()).expect("config.json"),
        "config.json has changed"
    );
    container.delete(true).ok();
}

#[test]
fn a_container_that_cannot_be_isolated() {
    let place = somewhere(1);
    let line = "this container can't be isolated: it has CAP_SYS_ADMIN outside a user namespace (--privileged?), and with it \
                every MIG capability; run it without those rights, or set allow_privileged = true to trust every such container";
    refuses(
        &place.machine,
        &asking("true").privileged().write(),
        REFUSED,
        line,
    );
}

#[test]
fn a_config_json_that_is_none() {
    let place = somewhere(1);
    let bundle = asking("true").write();
    fs::write(
        bundle.config_file(),
        "{\"annotations\":{\"mig.profile\":\"1g.10gb\"}",
    )
    .expect("config.json");
    let line = format!(
        "{} can't be read: EOF while parsing an object at line 1 column 40; look at the engine that wrote it",
        bundle.config_file().display()
    );
    refuses(&place.machine, &bundle, HOST, &line);
    // Where there is none at all, the real runtime says so.
    fs::remove_file(bundle.config_file()).expect("config.json");
    let mut create = place.machine.interposed();
    let outcome = run(create.args(["create", "-b"]).arg(bundle.folder()).arg("c")).failed();
    assert!(!outcome.stderr.contains("oci-mig-hook"), "{outcome}");
}
