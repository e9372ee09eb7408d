//! `status` for people: a table.

use super::report::{DeviceStatus, State, Status, WaitingStatus};
use crate::failure::one_line;
use crate::mig::User;
use crate::operator::table::Table;

/// The table, and what is left out of it.
pub fn table(status: &Status) -> String {
    let mut table = Table::new(["GPU", "PROFILE", "DEVICE", "HOLDER", "STATE"], 2);
    for gpu in &status.gpus {
        for device in &gpu.devices {
            table.row(row(gpu.index.to_string(), device));
        }
        if gpu.devices.is_empty() {
            let none = "no MIG devices".into();
            table.row([gpu.index.to_string(), "-".into(), none, "-".into(), "-".into()]);
        }
    }
    for device in &status.orphans {
        let gpu = if status.error.is_some() { "?" } else { "gone" };
        table.row(row(gpu.to_owned(), device));
    }
    let mut text = match (table.is_empty(), &status.error) {
        (false, _) => table.to_string(),
        (true, None) => "no MIG devices\n".to_owned(),
        // What there is isn't known; why follows as the error.
        (true, Some(_)) => String::new(),
    };
    let notes = status
        .left_out
        .iter()
        .map(|left_out| format!("left out: {}: {}\n", left_out.what, one_line(&left_out.reason)));
    text.extend(notes);
    text.extend(status.waiting.iter().map(waiting));
    text
}

fn waiting(waiting: &WaitingStatus) -> String {
    let short: String = waiting.container.chars().take(12).collect();
    let asks = waiting
        .request
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let asks = asks.collect::<Vec<_>>().join(" ");
    let (since, left) = (age(waiting.age_seconds), age(waiting.left_seconds));
    let pid = waiting.pid;
    let line = format!("waiting: {short} (process {pid}) for {asks}, since {since}, {left} left");
    one_line(&line) + "\n"
}

fn row(gpu: String, device: &DeviceStatus) -> [String; 5] {
    let state = match device.state {
        State::Free => "free",
        State::InUse => "in use",
        State::Pending => "pending",
        State::Held => "held",
        State::Releasing => "freeing",
        State::Stale => "stale",
        State::Unreadable => "unreadable",
    };
    let (holder, state) = match &device.lease {
        Some(lease) => (
            lease.holder.short_name(),
            format!("{state} {}", age(lease.age_seconds)),
        ),
        None => (used_by(&device.users), state.to_owned()),
    };
    [
        gpu,
        device.profile.to_string(),
        device.uuid.to_string(),
        one_line(&holder),
        state,
    ]
}

/// Who uses a device without a lease, in few letters: the first, and how many there are beside it.
fn used_by(users: &[User]) -> String {
    let Some((first, others)) = users.split_first() else {
        return "-".to_owned();
    };
    let named = format!("{} {}", first.pid, first.name);
    match others.len() {
        0 => named.trim_end().to_owned(),
        more => format!("{} +{more}", named.trim_end()),
    }
}

/// In the largest unit that is at least one: ages are for a glance, exact ones are in the JSON.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
