//! The program's rule on what becomes of a lease, asked every question once: a test's build of the program is not made for
//! a hundred million.

use oci_mig_hook::lease::LeaseState;
use oci_mig_hook::lease::transition::{CgroupState, Checks, Evidence, Fate, Occasion, ProcessState, fate};

const OCCASIONS: [Occasion; 2] = [Occasion::Look, Occasion::End];
const STATES: [LeaseState; 3] = [LeaseState::Pending, LeaseState::Held, LeaseState::Releasing];
const PROCESSES: [ProcessState; 3] = [ProcessState::Alive, ProcessState::Gone, ProcessState::Unknown];
const CGROUPS: [CgroupState; 4] = [
    CgroupState::Populated,
    CgroupState::Empty,
    CgroupState::Unknown,
    CgroupState::None,
];
const BOTH: [bool; 2] = [false, true];

/// Its answers.
#[derive(Clone, Debug)]
pub struct Rule(Vec<Fate>);

impl Rule {
    /// The rule that goes by these checks.
    pub fn new(checks: Checks) -> Rule {
        let mut answers = Vec::new();
        for occasion in OCCASIONS {
            for state in STATES {
                for process in PROCESSES {
                    for cgroup in CGROUPS {
                        for this_boot in BOTH {
                            for overdue in BOTH {
                                let evidence = Evidence {
                                    this_boot,
                                    process,
                                    cgroup,
                                    overdue,
                                };
                                answers.push(fate(occasion, state, evidence, checks));
                            }
                        }
                    }
                }
            }
        }
        Rule(answers)
    }

    /// What becomes of a lease.
    pub fn fate(&self, occasion: Occasion, state: LeaseState, evidence: Evidence) -> Fate {
        let digits = [
            (place(&OCCASIONS, &occasion), OCCASIONS.len()),
            (place(&STATES, &state), STATES.len()),
            (place(&PROCESSES, &evidence.process), PROCESSES.len()),
            (place(&CGROUPS, &evidence.cgroup), CGROUPS.len()),
            (usize::from(evidence.this_boot), BOTH.len()),
            (usize::from(evidence.overdue), BOTH.len()),
        ];
        self.0[digits
            .iter()
            .fold(0, |number, (digit, base)| number * base + digit)]
    }
}

fn place<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|it| it == one).unwrap_or(all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_its_own_answer() {
        let rule = Rule::new(Checks::ALL);
        assert_eq!(rule.0.len(), 2 * 3 * 3 * 4 * 2 * 2);
        for occasion in OCCASIONS {
            for (state, process) in STATES
                .into_iter()
                .flat_map(|it| PROCESSES.map(|other| (it, other)))
            {
                for (cgroup, both) in CGROUPS.into_iter().flat_map(|it| BOTH.map(|other| (it, other))) {
                    let evidence = Evidence {
                        this_boot: true,
                        process,
                        cgroup,
                        overdue: both,
                    };
                    let expected = fate(occasion, state, evidence, Checks::ALL);
                    assert_eq!(
                        rule.fate(occasion, state, evidence),
                        expected,
                        "{occasion:?} {state} {evidence:?}"
                    );
                }
            }
        }
    }
}
