//! Devices that are free by the ledger, and that somebody uses all the same: a program that was started by hand, NVIDIA's own
//! runtime.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::lease::End;
use crate::lease::liveness::Here;
use crate::mig::{DeviceName, User};

/// For how long the driver isn't asked again: a user may let go of a device and live on, and not every end can be seen.
const LASTS: Duration = Duration::from_secs(30);

/// Which devices, and by whom.
#[derive(Default)]
pub struct Used(BTreeMap<DeviceName, Users>);

struct Users {
    /// As people are told.
    name: String,
    /// The end of each of them; none where not all can be seen.
    ends: Vec<End>,
    noted: Instant,
}

impl Used {
    /// Takes note of what the driver said.
    pub fn note(&mut self, here: &Here, device: DeviceName, users: &[User]) {
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
    pub fn by(&self, device: &DeviceName) -> Option<String> {
        self.0.get(device).map(|users| users.name.clone())
    }

    /// The devices.
    pub fn devices(&self) -> Vec<DeviceName> {
        self.0.keys().cloned().collect()
    }

    /// The ends that are yet to come.
    pub fn ends(&self) -> impl Iterator<Item = &End> {
        let ends = self.0.values().flat_map(|users| &users.ends);
        ends.filter(|end| !end.has_come())
    }

    /// Forgets the devices whose users have all ended, and what was heard a while ago: the driver will be asked.
    pub fn drop_ended(&mut self) {
        self.0.retain(|_, users| {
            let have_ended = !users.ends.is_empty() && users.ends.iter().all(End::has_come);
            !have_ended && users.noted.elapsed() < LASTS
        });
    }

    /// Forgets everything: for a last look.
    pub fn clear(&mut self) {
        self.0.clear();
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
