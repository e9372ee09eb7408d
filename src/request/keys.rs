//! The annotations that are ours: `mig.<word>` and `mig.<word>/<container>`, where word has no dot.

/// The profile, exactly.
pub const PROFILE: &str = "mig.profile";
/// At least this much memory.
pub const MEMORY: &str = "mig.memory";
/// At least this many compute slices.
pub const COMPUTE: &str = "mig.compute";
/// How many devices.
pub const COUNT: &str = "mig.count";
/// Only on this GPU, or on GPUs of this name.
pub const GPU: &str = "mig.gpu";
/// Exactly this device.
pub const DEVICE: &str = "mig.device";
/// How long to wait for one to come free.
pub const WAIT: &str = "mig.wait";
/// The lease that a container holds. Written by this program alone; never a part of a request.
pub const LEASE: &str = "mig.lease";

/// What a request may say, in the order of the manual.
pub(super) const ALL: [&str; 7] = [PROFILE, MEMORY, COMPUTE, COUNT, GPU, DEVICE, WAIT];

const PREFIX: &str = "mig.";

/// What a variable that asks begins with.
const VARIABLE_PREFIX: &str = "MIG_";

/// The key that a variable of a container's environment stands for: `MIG_PROFILE` for `mig.profile`. None for any other:
/// programs have variables of their own that begin so.
pub(super) fn of_variable(name: &str) -> Option<&'static str> {
    let word = name.strip_prefix(VARIABLE_PREFIX)?;
    let is_it = |key: &&str| {
        let known = key.strip_prefix(PREFIX).unwrap_or_default();
        word == known.to_ascii_uppercase()
    };
    ALL.into_iter().find(is_it)
}

/// Whether an annotation's key is one of ours, known or not, [`LEASE`] included. Others' are `mig.example.com/x`,
/// `mig.a.b`, `migration`. A container without any of ours has not asked, and is left alone.
pub fn is_ours(key: &str) -> bool {
    let name = key.split('/').next().unwrap_or_default();
    name.strip_prefix(PREFIX).is_some_and(|word| !word.contains('.'))
}

/// The key that `name` was probably meant to be: one that it begins, or that is at most two letters away.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let typed = name.strip_prefix(PREFIX)?;
    if typed.len() < 2 || typed.len() > 16 {
        return None;
    }
    let begun = ALL
        .into_iter()
        .find(|known| known.starts_with(&name) || name.starts_with(known));
    begun.or_else(|| {
        let close = ALL
            .into_iter()
            .map(|known| (letters_apart(known, &name), known))
            .min()?;
        (close.0 <= 2).then_some(close.1)
    })
}

/// How many letters must be put in, taken out or changed to turn one word into the other (Levenshtein).
fn letters_apart(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_mig_and_a_word_without_a_dot() {
        for key in [
            "mig.profile",
            "mig.lease",
            "mig.nonsense",
            "mig.profile/web",
            "mig.profile/web.1",
            "mig.",
            "mig./x",
        ] {
            assert!(is_ours(key), "{key}");
        }
        for key in [
            "",
            "mig",
            "migration",
            "mig.example.com/foo",
            "mig.foo.bar",
            "Mig.profile",
            "nvidia.com/mig.profile",
            "mig/profile",
        ] {
            assert!(!is_ours(key), "{key}");
        }
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        for (typed, meant) in [
            ("mig.profil", Some(PROFILE)),
            ("mig.profiles", Some(PROFILE)),
            ("mig.Profile", Some(PROFILE)),
            ("mig.mem", Some(MEMORY)),
            ("mig.cuont", Some(COUNT)),
            ("mig.gpus", Some(GPU)),
            ("mig.uuid", None),
            ("mig.", None),
            ("mig.strategy", None),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }
}
