//! Devices that are free by the ledger, and that somebody uses all the same: a program that was started by hand, NVIDIA's own
//! runtime.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::lease::End;
use crate::lease::liveness::Here;
use crate::mig::{MigUuid, User};

/// For how long the driver isn't asked again about users whose end can't be seen from here.
const UNSEEN: Duration = Duration::from_secs(10);

/// Which devices, and by whom.
#[derive(Default)]
pub struct Used(BTreeMap<MigUuid, Users>);

struct Users {
    /// As people are told.
    name: String,
    /// When each of them ends; none where that can't be seen.
    ends: Vec<End>,
    noted: Instant,
}

impl Used {
    /// Takes note of what the driver said.
    pub fn note(&mut self, here: &Here, device: MigUuid, users: &[User]) {
        let end = |user: &User| here.end_of(&here.name_process(i32::try_from(user.pid).ok()?).ok()?);
        let ends: Vec<End> = users.iter().filter_map(end).collect();
        let users = Users {
            name: named(users),
            ends: if ends.len() == users.len() {
                ends
            } else {
                Vec::new()
            },
            noted: Instant::now(),
        };
        self.0.insert(device, users);
    }

    /// Who uses that device, as people are told.
    pub fn by(&self, device: &MigUuid) -> Option<String> {
        self.0.get(device).map(|users| users.name.clone())
    }

    /// The devices.
    pub fn devices(&self) -> Vec<MigUuid> {
        self.0.keys().cloned().collect()
    }

    /// The ends that can be waited for.
    pub fn ends(&self) -> impl Iterator<Item = &End> {
        self.0.values().flat_map(|users| &users.ends)
    }

    /// Forgets the devices whose users have all ended, and those of which nobody can tell: the driver will be asked.
    pub fn drop_ended(&mut self) {
        self.0.retain(|_, users| match users.ends.is_empty() {
            true => users.noted.elapsed() < UNSEEN,
            false => !users.ends.iter().all(End::has_come),
        });
    }
}

/// `process 4711 (python3) outside any lease`, and how many others.
fn named(users: &[User]) -> String {
    let Some(first) = users.first() else {
        return "a process outside any lease".to_owned();
    };
    let name = match first.name.is_empty() {
        true => String::new(),
        false => format!(" ({})", first.name),
    };
    match users.len() {
        1 => format!("process {}{name} outside any lease", first.pid),
        count => format!(
            "process {}{name} and {} more outside any lease",
            first.pid,
            count - 1
        ),
    }
}
