//! The reason reaches the person: whoever starts a container that is refused reads the one line, whichever engine
//! calls the hook at whichever stage, on a terminal, through a pipe and in a file. And it stands in the system log.

mod system_log;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::gate::Gate;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::podman::{IMAGE, Podman};
use crate::support::process::{DEADLINE, run, run_with, start};
use crate::support::runtime::{Engine, Runtime};
use crate::support::scratch::Scratch;
use crate::support::stream::Stream;

/// No GPU has that profile.
const ASK: &str = "--annotation=mig.profile=9g.90gb";

/// Each runtime in the first view that it works in: what is said does not depend on the view.
fn with_each_runtime(story: impl Fn(Runtime, View)) {
    for runtime in [Runtime::Runc, Runtime::Crun] {
        story(runtime, *runtime.views().first().expect("a view"));
    }
}

/// config.json as Podman gives it to precreate, of a container that asks for this profile.
fn document(profile: &str) -> String {
    let bundle = Bundle::new().annotation("mig.profile", profile);
    let id = "c".repeat(64);
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = json!(format!("/libpod-{id}")));
    bundle.config.to_string()
}

/// The line that a container which asks for this profile deserves, as a person would read it who called the hook.
fn the_line(machine: &Machine, profile: &str) -> String {
    let outcome = machine.stage("precreate", &document(profile)).failed();
    let line = outcome.stderr.strip_suffix('\n').expect("a line").to_owned();
    assert!(
        line.starts_with("oci-mig-hook: ") && !line.contains('\n'),
        "{line:?}"
    );
    line
}

pub fn no_such_profile(machine: &Machine) -> String {
    let line = the_line(machine, "9g.90gb");
    assert!(line.contains("no 9g.90gb on this node"), "{line:?}");
    line
}

/// It is said, and said once.
#[track_caller]
pub fn assert_said(said: &str, line: &str, who: &str) {
    assert_eq!(said.matches(line).count(), 1, "{who}: {line:?} in {said:?}");
    assert_eq!(said.matches("oci-mig-hook: ").count(), 1, "{who}: {said:?}");
}

/// A hooks folder with our program at `stage`.
fn hooks(machine: &Machine, stage: &str) -> Scratch {
    let folder = Scratch::new("hooks");
    let hook = json!({
        "version": "1.0.0",
        "hook": {
            "path": PROGRAM,
            "args": ["oci-mig-hook", stage, "--config", machine.config()],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "when": {"annotations": {r"^mig\.": ".*"}},
        "stages": [stage],
    });
    folder.file("oci-mig-hook.json", &hook.to_string());
    folder
}

/// `podman run` of a container that is refused.
fn refused(podman: &Podman, options: &[&str]) -> Command {
    let mut command = podman.container("run");
    command.arg("--rm").args(options).args([IMAGE, "true"]);
    command
}

/// What `podman run -it` says. conmon 2.1.12 now and then loses what the runtime said, whatever that was; Podman then
/// says that there are "no logs from conmon", and nobody can say more.
fn on_a_raw_terminal(podman: &Podman) -> String {
    let say = || Stream::Terminal.read(&mut refused(podman, &[ASK, "--tty", "--interactive"]));
    let tries = (0..10).map(|_| say());
    tries
        .into_iter()
        .find(|said| !said.contains("no logs from conmon"))
        .expect("conmon passes something on")
}

/// The first number of `podman --version`.
fn podman_major() -> u32 {
    let version = run(Command::new("podman").arg("--version")).ok().stdout;
    let number = version
        .split_whitespace()
        .last()
        .and_then(|version| version.split('.').next());
    number
        .and_then(|major| major.parse().ok())
        .unwrap_or_else(|| panic!("{version}"))
}

fn podman_says_it_at(stage: &str) {
    with_each_runtime(|runtime, view| {
        let machine = Machine::named("one-gpu");
        let folder = hooks(&machine, stage);
        let podman = Podman::new(runtime, view, &[folder.path()]);
        let line = no_such_profile(&machine);
        for stream in Stream::ALL {
            let said = stream.read(&mut refused(&podman, &[ASK]));
            assert_said(&said, &line, &format!("podman {runtime} {stage} {stream:?}"));
        }
        let said = Stream::Pipe.read(&mut refused(&podman, &[ASK, "--detach"]));
        assert_said(&said, &line, &format!("podman {runtime} {stage} --detach"));
        // Podman makes the terminal raw before it calls its hooks.
        let said = on_a_raw_terminal(&podman);
        let who = format!("podman {runtime} {stage} --tty");
        assert_said(&said, &line, &who);
        assert!(said.contains(&format!("{line}\r\n")), "{who}: {said:?}");
        machine.assert_free(&who);
    });
}

#[test]
fn podman_says_what_precreate_refuses() {
    podman_says_it_at("precreate");
}

#[test]
fn podman_says_what_create_runtime_refuses() {
    podman_says_it_at("createRuntime");
}

#[test]
fn a_runtime_says_what_the_hook_of_its_config_json_refuses() {
    with_each_runtime(|runtime, view| {
        let machine = Machine::named("one-gpu");
        let bundle = machine.bundle().annotation("mig.profile", "9g.90gb").write();
        let engine = Engine::new(runtime, view);
        let line = no_such_profile(&machine);
        for stream in Stream::ALL {
            let container = engine.container(&bundle);
            let mut command = container.command("run");
            command.arg("--bundle").arg(bundle.folder()).arg(container.id());
            let said = stream.read(&mut command);
            assert_said(&said, &line, &format!("{runtime} {stream:?}"));
        }
        machine.assert_free(runtime.name());
    });
}

#[test]
fn podman_says_why_a_reservation_is_not_confirmed() {
    with_each_runtime(|runtime, view| {
        let machine = Machine::named("one-gpu");
        // It stands between precreate and createRuntime.
        let (gate, folder) = (Gate::new(), Scratch::new("hooks"));
        let hook = json!({
            "version": "1.0.0",
            "hook": {"path": gate.program(), "env": ["PATH=/usr/bin:/bin"]},
            "when": {"always": true},
            "stages": ["prestart"],
        });
        folder.file("gate.json", &hook.to_string());
        let podman = machine.podman(runtime, view, &[folder.path()]);
        let mut command = refused(&podman, &["--annotation=mig.profile=1g.10gb"]);
        let mut running = start(&mut command, None);
        gate.await_reached();
        for lease in fs::read_dir(machine.ledger().join("leases"))
            .expect("leases")
            .flatten()
        {
            fs::remove_file(lease.path()).expect("a lease");
        }
        gate.open();
        let said = running.wait(DEADLINE).failed().stderr;
        let who = format!("podman {runtime}");
        assert_eq!(said.matches("oci-mig-hook: ").count(), 1, "{who}: {said:?}");
        assert!(
            said.contains("oci-mig-hook: this container's reservation is gone: "),
            "{who}: {said:?}"
        );
        machine.assert_free(&who);
    });
}

#[test]
fn a_client_of_podmans_service_reads_what_create_runtime_refuses() {
    with_each_runtime(|runtime, view| {
        let machine = Machine::named("one-gpu");
        let folder = hooks(&machine, "createRuntime");
        let podman = Podman::new(runtime, view, &[folder.path()]);
        let service = podman.service();
        let mut client = service.command("run");
        let said = run(client.args(["--network=none", "--rm", ASK, IMAGE, "true"]))
            .failed()
            .stderr;
        assert_said(
            &said,
            &no_such_profile(&machine),
            &format!("podman {runtime} --remote"),
        );
    });
}

/// The service tells its client no more than an exit status: the line is where the service's own words are.
#[test]
fn podmans_service_says_what_precreate_refuses() {
    with_each_runtime(|runtime, view| {
        let machine = Machine::named("one-gpu");
        let folder = hooks(&machine, "precreate");
        let podman = Podman::new(runtime, view, &[folder.path()]);
        let service = podman.service();
        let mut client = service.command("run");
        let told = run(client.args(["--network=none", "--rm", ASK, IMAGE, "true"])).failed();
        assert!(told.stderr.contains("exit status 1"), "{told}");
        let said = service.process.stderr();
        assert_said(
            &said,
            &no_such_profile(&machine),
            &format!("podman {runtime} service"),
        );
    });
}

#[test]
fn hostile_text_stays_on_its_line() {
    with_each_runtime(|runtime, view| {
        let machine = Machine::named("one-gpu");
        let value = "1g\nroot: all is well\r\x1b[2J";
        let line = the_line(&machine, value);
        for stage in ["precreate", "createRuntime"] {
            let folder = hooks(&machine, stage);
            let podman = Podman::new(runtime, view, &[folder.path()]);
            // Podman before 5 reads it as a line of CSV.
            let quote = if podman_major() < 5 { "\"" } else { "" };
            let ask = format!("--annotation={quote}mig.profile={value}{quote}");
            let said = Stream::Pipe.read(&mut refused(&podman, &[&ask]));
            assert_said(&said, &line, &format!("podman {runtime} {stage}"));
            assert!(!said.contains('\x1b') && !said.contains("\nroot: "), "{said:?}");
        }
    });
}

#[test]
fn a_container_that_is_served_says_nothing_more() {
    with_each_runtime(|runtime, view| {
        let machine = Machine::named("one-gpu");
        let podman = machine.podman(runtime, view, &[]);
        let outcome = podman.run(&["--annotation=mig.profile=1g.10gb"], "true").ok();
        assert_eq!(outcome.text(), "", "podman {runtime}");
        let bundle = machine.bundle().annotation("mig.profile", "1g.10gb").write();
        let outcome = Engine::new(runtime, view).run(&bundle).ok();
        assert_eq!(outcome.text(), "", "{runtime}");
    });
}

/// Whoever merely is our parent, such as init when the engine has died, is left alone.
#[test]
fn a_parent_that_is_no_engine_is_not_written_to() {
    let machine = Machine::named("one-gpu");
    let script = format!(
        "{PROGRAM} precreate --config {} 2>/dev/null; echo code $?",
        machine.config().display()
    );
    let outcome = run_with(Command::new("sh").args(["-c", &script]), &document("9g.90gb")).ok();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("code 1\n", "")
    );
}

/// A terminal that is stopped (^S), a pager that doesn't read: the engine waits there itself, the hook does not.
#[test]
fn a_reader_that_does_not_read_holds_no_hook_up() {
    let machine = Machine::named("one-gpu");
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    let size = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETPIPE_SZ).expect("its size");
    rustix::io::write(&writer, &vec![b'x'; size as usize]).expect("a full pipe");
    let mut command = machine.program("precreate");
    let config = Scratch::new("config");
    let document = config.file("config.json", &document("9g.90gb"));
    command.stdin(Stdio::from(fs::File::open(&document).expect("a file of ours")));
    // It comes back at all: the reader lives, and reads nothing.
    let status = command
        .stdout(Stdio::null())
        .stderr(writer)
        .status()
        .expect("the program");
    assert_eq!(status.code(), Some(1));
    drop(reader);
}

/// A hook entry that was mistyped: Podman alone would name an exit status.
#[test]
fn a_wrong_hook_entry_is_named() {
    let folder = Scratch::new("hooks");
    let hook = json!({
        "version": "1.0.0",
        "hook": {"path": PROGRAM, "args": ["oci-mig-hook", "precreate", "--confg", "x"], "env": ["PATH=/bin"]},
        "when": {"annotations": {r"^mig\.": ".*"}},
        "stages": ["precreate"],
    });
    folder.file("mistyped.json", &hook.to_string());
    let podman = Podman::new(Runtime::Runc, View::Host, &[folder.path()]);
    let said = run(&mut refused(&podman, &[ASK])).failed().stderr;
    assert!(
        said.contains("oci-mig-hook: this hook entry is wrong: "),
        "{said:?}"
    );
    assert!(said.contains("--confg"), "{said:?}");
}
