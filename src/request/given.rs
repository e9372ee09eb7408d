//! Which of the annotations speak to a container: those for all of its pod, and those that name it and win over them.

use std::collections::BTreeMap;

use super::keys;
use super::parse::shown;
use crate::failure::Failure;

/// What says which devices would do. A container that is told so by name is not told so by its pod as well.
const WHICH: [&str; 4] = [keys::PROFILE, keys::MEMORY, keys::COMPUTE, keys::DEVICE];

/// The annotations that speak to one container, by their word: `mig.profile`. Never empty.
#[derive(Debug)]
pub(super) struct Given(BTreeMap<&'static str, Annotation>);

#[derive(Debug)]
struct Annotation {
    /// As it was written: `mig.profile/web`.
    key: String,
    value: String,
}

impl Given {
    /// Those that speak to the container of that name, or to one that has no name in any pod; `None` where none does.
    ///
    /// # Errors
    /// A usage failure for a key of ours that says nothing, to whomever it speaks.
    pub fn of<K, V>(
        annotations: impl IntoIterator<Item = (K, V)>,
        container: Option<&str>,
    ) -> Result<Option<Given>, Failure>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        // In the order of their names, so that of several wrong ones always the same is reported.
        let mut ours = BTreeMap::new();
        for (key, value) in annotations {
            let key = key.as_ref();
            if key != keys::LEASE && keys::is_ours(key) {
                ours.insert(key.to_owned(), value.as_ref().to_owned());
            }
        }
        let (mut to_all, mut by_name) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in ours {
            let (word, named) = known(&key)?;
            let named = named.map(str::to_owned);
            let annotation = Annotation { key, value };
            match (named, container) {
                (None, _) => drop(to_all.insert(word, annotation)),
                (Some(_), None) => return Err(no_pod(word, &annotation.key)),
                (Some(named), Some(name)) if named == name => drop(by_name.insert(word, annotation)),
                (Some(_), Some(_)) => {}
            }
        }
        if WHICH.iter().any(|word| by_name.contains_key(word)) {
            to_all.retain(|word, _| !WHICH.contains(word));
        }
        to_all.extend(by_name);
        Ok((!to_all.is_empty()).then_some(Given(to_all)))
    }

    /// Those of a container's environment, by its variables; `None` where none of them asks.
    pub fn of_environment<'a>(entries: impl Iterator<Item = &'a str>) -> Option<Given> {
        let pairs = entries.filter_map(|entry| entry.split_once('='));
        let asked = pairs.filter_map(|(name, value)| {
            let annotation = Annotation {
                key: name.to_owned(),
                value: value.to_owned(),
            };
            Some((keys::of_variable(name)?, annotation))
        });
        let asked: BTreeMap<_, _> = asked.collect();
        (!asked.is_empty()).then_some(Given(asked))
    }

    /// The value of that word.
    pub fn value(&self, word: &str) -> Option<&str> {
        self.0.get(word).map(|annotation| annotation.value.as_str())
    }

    /// The word's key, as it was written.
    pub fn key<'a>(&'a self, word: &'a str) -> &'a str {
        self.0.get(word).map_or(word, |annotation| &annotation.key)
    }
}

/// Takes a key of ours apart: its word, and the container that it speaks to.
fn known(key: &str) -> Result<(&'static str, Option<&str>), Failure> {
    let (name, container) = match key.split_once('/') {
        Some((name, container)) => (name, Some(container)),
        None => (key, None),
    };
    if name == keys::LEASE {
        let why = "mig.lease is written by oci-mig-hook alone";
        return Err(Failure::usage(shown(key), why).remedy("remove it"));
    }
    let Some(word) = keys::ALL.into_iter().find(|known| *known == name) else {
        let failure = Failure::usage(shown(key), "no such annotation");
        return Err(failure.remedy(match keys::nearest(name) {
            Some(meant) => format!("did you mean {meant}? There are {}", keys::ALL.join(", ")),
            None => format!("there are {}", keys::ALL.join(", ")),
        }));
    };
    match container {
        Some(container) if container.is_empty() || container.contains('/') => {
            Err(
                Failure::usage(shown(key), "what follows the slash is no container's name").remedy(format!(
                    "write {word} for every container of the pod, or {word}/NAME for one"
                )),
            )
        }
        container => Ok((word, container)),
    }
}

fn no_pod(word: &str, key: &str) -> Failure {
    let why = "names one container of a pod, and this container has no name in any";
    Failure::usage(shown(key), why).remedy(format!("use {word} on the container itself"))
}
