//! The model as the checker takes it.

use oci_mig_hook::lease::transition::Checks;
use stateright::{Model, Property};

use crate::cast::Cast;
use crate::machine::State;
use crate::plant::Plant;
use crate::possible::{Possible, Step};
use crate::property;
use crate::rule::Rule;
use crate::sight::Sight;
use crate::stage::Stages;
use crate::symmetry::Symmetry;

/// The protocol, with those casts, one after the other.
#[derive(Clone)]
pub struct Protocol {
    /// Who takes part.
    pub casts: Vec<Cast>,
    /// What is asked of every state.
    pub properties: Vec<Property<Protocol>>,
    checks: Checks,
    rule: Rule,
    plant: Option<Plant>,
    symmetries: Vec<Symmetry>,
}

impl Protocol {
    /// As the program goes by it.
    pub fn new(casts: Vec<Cast>) -> Protocol {
        Protocol {
            symmetries: casts.iter().map(Symmetry::of).collect(),
            casts,
            checks: Checks::ALL,
            rule: Rule::new(Checks::ALL),
            plant: None,
            properties: property::all(),
        }
    }

    /// The same, by a rule that goes by these checks.
    pub fn with_checks(self, checks: Checks) -> Protocol {
        Protocol {
            checks,
            rule: Rule::new(checks),
            ..self
        }
    }

    /// The same, with a fault.
    pub fn with_plant(self, plant: Plant) -> Protocol {
        Protocol {
            plant: Some(plant),
            ..self
        }
    }

    /// The same, with every attempt's number kept from one state to the next, so that a trace can be read.
    pub fn readable(self) -> Protocol {
        Protocol {
            symmetries: vec![Symmetry::default(); self.casts.len()],
            ..self
        }
    }

    /// Who plays in that state.
    pub fn cast(&self, state: &State) -> &Cast {
        &self.casts[usize::from(state.cast)]
    }

    /// The program's stages in that state.
    pub fn stages<'a>(&'a self, state: &'a State) -> Stages<'a> {
        Stages {
            sight: Sight {
                state,
                cast: self.cast(state),
                plant: self.plant,
            },
            checks: self.checks,
            rule: &self.rule,
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let casts = self.casts.iter().enumerate();
        casts
            .map(|(number, cast)| State::first(number as u16).tidy(cast))
            .collect()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        Possible::find(self.stages(state), steps);
    }

    fn next_state(&self, _: &State, step: Step) -> Option<State> {
        let cast = usize::from(step.next.cast);
        Some(self.symmetries[cast].representative(&self.casts[cast], step.next))
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        self.properties.clone()
    }
}
