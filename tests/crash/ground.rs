//! What every stage is tried on: a machine with three devices, of which one is a living container's that has nothing
//! to do with it, one was a container's that is gone and that nobody gave back, and one is free.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::documents::{config, hook_arguments, state};
use crate::judge::Judge;
use crate::leases::{self, Snapshot};
use crate::maker::{Call, Ended};
use crate::plan::{Blow, Point};
use crate::stand_in::StandIn;
use crate::support::cgroups::View;
use crate::support::machine::{Machine, PROGRAM};
use crate::support::process::{Outcome, run_with};

/// How many devices a stage may have: all but the bystander's.
pub const DEVICES: usize = 2;

/// How many there are.
const ALL: usize = DEVICES + 1;

pub struct Ground {
    pub machine: Machine,
    /// Where everybody is who is called here.
    pub view: View,
    bystander: Option<Bystander>,
    before: Snapshot,
    dev: String,
    mounts: String,
}

/// The living container that nothing may happen to.
struct Bystander {
    _process: StandIn,
    lease: PathBuf,
    bytes: Vec<u8>,
}

impl Ground {
    pub fn new(view: View) -> Self {
        let mut ground = Self::untouched(view);
        let process = StandIn::new(view);
        ground.serve(&process, 1);
        let lease = lease_files(&ground.machine).pop().expect("the bystander's lease");
        let mut stale = StandIn::new(view);
        ground.serve(&stale, 1);
        stale.end();
        ground.bystander = Some(Bystander {
            _process: process,
            bytes: fs::read(&lease).expect("a lease"),
            lease,
        });
        ground.keep();
        ground
    }

    /// One on which nobody was served since the machine started: there isn't even a ledger.
    pub fn untouched(view: View) -> Self {
        let machine = Machine::with(&["1g.10gb"; ALL]);
        // A process that stands in for a container has no mount namespace to hide anything in.
        machine.configure("mask_proc", "false");
        Self {
            view,
            bystander: None,
            before: Snapshot::of(&machine.ledger()),
            dev: listing(&machine.dir().join("dev")),
            mounts: mounts(view),
            machine,
        }
    }

    /// One whose containers are real, and are to see nothing of others in /proc.
    pub fn hiding(view: View) -> Self {
        let ground = Self::new(view);
        let config = ground.machine.config();
        let text = fs::read_to_string(&config).expect("config.toml");
        fs::write(&config, text.replace("mask_proc = false\n", "")).expect("config.toml");
        ground
    }

    /// How many devices a stage may have here.
    pub fn devices(&self) -> usize {
        ALL - usize::from(self.bystander.is_some())
    }

    /// Another state of the ledger to begin with: as it is now.
    pub fn keep(&mut self) {
        self.before = Snapshot::of(&self.machine.ledger());
    }

    /// Puts the ledger back as it was.
    pub fn restore(&self) {
        self.before.restore();
    }

    /// `oci-mig-hook STAGE --config ...`, to be called by a maker.
    pub fn command(&self, call: &Call, stage: &str) -> Command {
        let mut command = self.hook(call, &[]);
        command.args([stage, "--config"]).arg(self.machine.config());
        command
    }

    /// `oci-mig-hook` with the arguments of a hook entry, to be called by a maker.
    pub fn hook(&self, call: &Call, arguments: &[String]) -> Command {
        let words = call.words();
        let mut command = self.view.command(&words[0]);
        command.args(&words[1..]).arg(PROGRAM).args(arguments);
        // An engine has neither.
        command.env_remove("RUST_BACKTRACE").env_remove("LD_LIBRARY_PATH");
        command
    }

    /// Calls a stage as an engine does that lives on: this very process.
    pub fn stage(&self, stage: &str, document: &str) -> Outcome {
        let mut command = self.view.command(PROGRAM);
        command.args([stage, "--config"]).arg(self.machine.config());
        run_with(&mut command, document)
    }

    /// A container of so many devices whose process this is; its config.json.
    pub fn serve(&self, process: &StandIn, count: usize) -> Value {
        let outcome = self.stage("precreate", &config(count).to_string()).ok();
        let edited: Value = serde_json::from_str(&outcome.stdout).expect("config.json");
        let mut hook = self.view.command(PROGRAM);
        hook.args(hook_arguments(&edited, "createRuntime"));
        run_with(&mut hook, &state(&edited, "creating", process.pid())).ok();
        edited
    }

    /// What holds at any moment, whatever was done to whom: the ledger is whole and free to be changed, nothing of the
    /// bystander's was touched, and nothing was left among the host's device nodes or mounts.
    pub fn judge(&self, judge: &mut Judge) {
        let leases = leases::read(&self.machine.ledger(), |what| judge.wrong(what));
        for what in leases::held_twice(&leases) {
            judge.wrong(what);
        }
        if let Some(Bystander { lease, bytes, .. }) = &self.bystander {
            let now = fs::read(lease).ok();
            judge.holds(now.as_ref() == Some(bytes), || {
                "the bystander's lease is no longer as it was".to_owned()
            });
        }
        judge.holds(self.lock_is_free(), || "the ledger's lock is held".to_owned());
        judge.same(
            "device nodes",
            &self.dev,
            &listing(&self.machine.dir().join("dev")),
        );
        judge.same("mounts", &self.mounts, &mounts(self.view));
    }

    /// The leases besides the bystander's.
    pub fn leases(&self) -> Vec<Value> {
        let kept = self
            .bystander
            .as_ref()
            .and_then(|it| it.lease.file_stem()?.to_str());
        let all = leases::read(&self.machine.ledger(), |_| {});
        let others = all.into_iter().filter(|(id, _)| Some(id.as_str()) != kept);
        others.map(|(_, lease)| lease).collect()
    }

    /// Everybody but the bystander is gone. One look by a reservation or by `gc`, and every other device is free again.
    pub fn judge_nothing_lost(&self, judge: &mut Judge, struck: Option<&Point>) {
        // What a kill after one call leaves, a kill before the next leaves too: each is seen by both.
        match struck.map(|point| point.blow) {
            Some(Blow::KillAfter) => self.judge_collection(judge),
            _ => self.judge_next_reservation(judge),
        }
        let tickets = self.tickets();
        judge.holds(tickets == 0, || format!("{tickets} tickets of nobody"));
        self.judge(judge);
    }

    /// The tickets of those who wait for a device.
    pub fn tickets(&self) -> usize {
        let folder = self.machine.ledger().join("waiting");
        fs::read_dir(folder).map_or(0, |entries| entries.count())
    }

    fn judge_next_reservation(&self, judge: &mut Judge) {
        let document = config(self.devices()).to_string();
        let outcome = self.stage("precreate", &document);
        let leases = self.leases();
        judge.holds(outcome.status.success() && leases.len() == 1, || {
            format!("a device is lost: {outcome}\n{}", told(&leases))
        });
    }

    fn judge_collection(&self, judge: &mut Judge) {
        let outcome = self.stage("gc", "");
        let leases = self.leases();
        judge.holds(outcome.status.success() && leases.is_empty(), || {
            format!("gc left something: {outcome}\n{}", told(&leases))
        });
        let records = leases::records(&self.machine.ledger());
        let kept = usize::from(self.bystander.is_some());
        judge.holds(records == kept, || {
            format!("gc left {records} records of devices where {kept} is held")
        });
        let unfinished = self.machine.ledger().join("unfinished");
        judge.holds(!unfinished.exists(), || "gc left an unfinished file".to_owned());
    }

    /// Nobody else gets the devices that a living container has.
    pub fn judge_nothing_free(&self, judge: &mut Judge) {
        let document = config(self.devices()).to_string();
        let outcome = self.stage("precreate", &document);
        judge.holds(outcome.code() == 1, || {
            format!("the devices of a living container are not held: {outcome}")
        });
        self.judge(judge);
    }

    /// It failed by itself and its maker lives on: nothing stays reserved for a container that won't be.
    pub fn judge_nothing_kept(&self, ended: &Ended, judge: &mut Judge, struck: Option<&Point>) {
        let of_maker = |lease: &Value| leases::process(lease) == i64::from(ended.maker());
        let kept: Vec<_> = self.leases().into_iter().filter(of_maker).collect();
        // Where more than one call fails, taking it back may be among them.
        judge.holds(kept.is_empty() || struck.is_some_and(Point::persists), || {
            format!("it failed and keeps {}: {}", told(&kept), ended.stderr)
        });
    }

    fn lock_is_free(&self) -> bool {
        let Ok(file) = fs::File::open(self.machine.ledger().join("lock")) else {
            return true;
        };
        let flags = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(&file, flags).is_ok()
    }
}

/// Leases, one a line.
pub fn told(leases: &[Value]) -> String {
    let lines: Vec<_> = leases.iter().map(Value::to_string).collect();
    lines.join("\n")
}

/// Everything below a folder, with what it is.
fn listing(folder: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
        {
            let node = fs::symlink_metadata(&path).map(|node| {
                format!(
                    "{:o} {:x} {}:{}",
                    node.mode(),
                    node.rdev(),
                    node.uid(),
                    node.gid()
                )
            });
            found.push(format!("{} {}", path.display(), node.unwrap_or_default()));
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found.join("\n")
}

/// What is mounted where hooks run.
fn mounts(view: View) -> String {
    fs::read_to_string(view.path("/proc/self/mountinfo")).expect("mountinfo")
}

fn lease_files(machine: &Machine) -> Vec<PathBuf> {
    let entries = fs::read_dir(machine.ledger().join("leases")).expect("leases");
    entries.flatten().map(|entry| entry.path()).collect()
}
