//! What an image requires of the machine that it runs on: its variables `NVIDIA_REQUIRE_*`, read and judged. Pure.
//!
//! ```text
//! NVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=nvidia,driver>=470,driver<471
//! ```
//!
//! A space is an or, a comma an and, which binds closer; of several variables all must hold. A condition is a property, an
//! operator and a value. The properties are `cuda` (the CUDA version that the driver brings), `driver` (its own), and
//! of the GPU that the container gets `arch` (its compute capability) and `brand`. The operators are `=`, `!=`, `<`, `<=`, `>`
//! and `>=`; a brand has no order. Upper and lower case are the same. Nothing between two separators is nothing. What the
//! driver doesn't tell is taken to be as it should be. `NVIDIA_DISABLE_REQUIRE` switches all of it off. In all this we read
//! what libnvidia-container reads.
//!
//! The variables are the image's, so hostile: how much is read is bounded, and a mistake is an error that names it.

#![forbid(unsafe_code)]

mod condition;

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::mig::Version;
use condition::Condition;

/// What every variable's name begins with.
const PREFIX: &str = "NVIDIA_REQUIRE_";

/// Not for us: it is about NVIDIA's boards with their own system, and NVIDIA's own hook passes it over too.
const JETPACK: &str = "NVIDIA_REQUIRE_JETPACK";

/// Switches all of it off.
pub const DISABLE: &str = "NVIDIA_DISABLE_REQUIRE";

/// The values of [`DISABLE`] that do.
const TRUE: [&str; 6] = ["1", "t", "T", "true", "TRUE", "True"];

/// Most variables that are read, as many as NVIDIA's own hook takes.
const MOST_VARIABLES: usize = 32;

/// Most bytes of all of them together. NVIDIA's images have some 2,500.
const MOST_BYTES: usize = 16 << 10;

/// Most conditions of all of them together: they are judged again for each look of each who waits. NVIDIA's images have some
/// 200.
const MOST_CONDITIONS: usize = 1000;

/// What a container's environment requires; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requirements(Vec<Requirement>);

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Requirement {
    variable: String,
    text: String,
    /// One of them is to hold, which is when all of its conditions do.
    alternatives: Vec<Vec<Condition>>,
}

/// What it is judged against: this machine, and one of its GPUs. None is what the driver doesn't tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The CUDA version that the driver brings.
    pub cuda: Option<&'a Version>,
    /// The driver's version.
    pub driver: Option<&'a Version>,
    /// The GPU's compute capability.
    pub arch: Option<&'a Version>,
    /// The GPU's brand.
    pub brand: Option<&'a str>,
}

/// A requirement that doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Its variable.
    pub variable: String,
    /// The first condition of the first alternative that doesn't hold: `cuda>=13.0`.
    pub condition: String,
    /// The property that it is about.
    pub property: &'static str,
    /// What that is here.
    pub found: String,
    /// Whether it is the GPU's, and may be another on another one.
    pub of_gpu: bool,
    /// How many other alternatives there are, of which none holds either.
    pub others: usize,
}

impl Requirements {
    /// Reads a container's environment: `NAME=VALUE`, each. Of several of one name the last counts.
    ///
    /// # Errors
    /// A usage failure for a condition that doesn't parse, or more than is read, which names the variable.
    pub fn of_environment<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Requirements, Failure> {
        Requirements::of_variables(entries.filter_map(|entry| entry.split_once('=')))
    }

    /// The same, of names and values.
    ///
    /// # Errors
    /// As [`Requirements::of_environment`].
    pub fn of_variables<'a>(
        variables: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Requirements, Failure> {
        let is_ours = |name: &str| name.starts_with(PREFIX) && !name.starts_with(JETPACK);
        let ours: BTreeMap<&str, &str> = variables
            .filter(|(name, _)| is_ours(name) || *name == DISABLE)
            .collect();
        if ours.get(DISABLE).is_some_and(|value| TRUE.contains(value)) {
            return Ok(Requirements::default());
        }
        let ours = || ours.iter().filter(|(name, _)| **name != DISABLE);
        let bytes: usize = ours().map(|(name, value)| name.len() + value.len()).sum();
        if ours().count() > MOST_VARIABLES || bytes > MOST_BYTES {
            return Err(too_much());
        }
        let all: Result<Vec<_>, Failure> = ours()
            .map(|(name, value)| Requirement::parse(name, value))
            .collect();
        let all = all?;
        let conditions = all.iter().flat_map(|requirement| &requirement.alternatives);
        match conditions.map(Vec::len).sum::<usize>() > MOST_CONDITIONS {
            true => Err(too_much()),
            false => Ok(Requirements(all)),
        }
    }

    /// The variables as they were written, from which the same can be read again.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.0
            .iter()
            .map(|requirement| (requirement.variable.clone(), requirement.text.clone()))
    }

    /// Whether all of it holds.
    ///
    /// # Errors
    /// The first that doesn't, by the variables' names.
    pub fn judge(&self, facts: &Facts<'_>) -> Result<(), Unmet> {
        self.0.iter().try_for_each(|requirement| requirement.judge(facts))
    }
}

impl Requirement {
    fn parse(variable: &str, text: &str) -> Result<Requirement, Failure> {
        let conditions = |alternative: &str| {
            let conditions = alternative.split(',').filter(|text| !text.is_empty());
            conditions.map(Condition::parse).collect::<Result<Vec<_>, _>>()
        };
        let alternatives: Result<Vec<_>, String> = text.split_ascii_whitespace().map(conditions).collect();
        let mut alternatives = alternatives.map_err(|why| {
            Failure::usage(format!("can't read {variable}"), why).remedy(format!(
                "correct the image's or container's variable, or set {DISABLE}=1 in its environment"
            ))
        })?;
        alternatives.retain(|conditions| !conditions.is_empty());
        Ok(Requirement {
            variable: variable.to_owned(),
            text: text.to_owned(),
            alternatives,
        })
    }

    fn judge(&self, facts: &Facts<'_>) -> Result<(), Unmet> {
        let mut first = None;
        for conditions in &self.alternatives {
            match conditions.iter().find(|condition| !condition.holds(facts)) {
                None => return Ok(()),
                Some(unmet) => drop(first.get_or_insert(unmet)),
            }
        }
        match first {
            None => Ok(()),
            Some(condition) => Err(Unmet {
                variable: self.variable.clone(),
                condition: condition.to_string(),
                property: condition.property(),
                found: condition.found(facts),
                of_gpu: condition.is_of_gpu(),
                others: self.alternatives.len() - 1,
            }),
        }
    }
}

fn too_much() -> Failure {
    let why = format!(
        "at most {MOST_VARIABLES} variables are read, {} KiB and {MOST_CONDITIONS} conditions of them",
        MOST_BYTES >> 10
    );
    Failure::usage(format!("too much of {PREFIX}*"), why)
        .remedy(format!("remove some, or set {DISABLE}=1 in its environment"))
}
