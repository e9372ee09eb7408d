//! A container's state, as a runtime gives it to a hook on standard input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The longest container id that any engine makes is 64 characters; runtimes set no limit of their own.
const LONGEST_ID: usize = 1024;

/// What a hook is told of its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The runtime's id for it.
    pub id: String,
    /// Its first process; none once it is stopped.
    pub pid: Option<i32>,
    /// The folder of its config.json.
    pub bundle: PathBuf,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl State {
    /// Reads a state and checks what oci-spec's type lets pass: an empty id, a missing bundle.
    ///
    /// # Errors
    /// A host failure that says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<State, Failure> {
        let state: oci_spec::runtime::State =
            serde_json::from_slice(bytes).map_err(|error| unusable(&error.to_string()))?;
        let id = state.id().clone();
        if id.is_empty() || id.len() > LONGEST_ID || id.chars().any(|c| c == '/' || c.is_control()) {
            return Err(unusable(&format!("'{id}' is no container id")));
        }
        Ok(State {
            id,
            pid: state.pid().filter(|pid| *pid > 0),
            bundle: bundle(state.bundle())?,
            annotations: state
                .annotations()
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
        })
    }
}

/// The bundle. crun before 1.27 can say `/`, or what it was called with: hooks then start in the bundle itself.
fn bundle(named: &Path) -> Result<PathBuf, Failure> {
    if named.is_absolute() && named != Path::new("/") {
        return Ok(named.to_owned());
    }
    std::env::current_dir()
        .map_err(|error| unusable(&format!("no bundle, and no working directory: {error}")))
}

fn unusable(why: &str) -> Failure {
    Failure::host("the container's state on standard input can't be used", why)
        .remedy("an OCI runtime calls this hook; see README for how to set it up")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runtimes_states_parse() {
        let runc = br#"{"ociVersion":"1.0.2-dev","id":"hk1","status":"creating","pid":32341,"bundle":"/b","annotations":{"mig.profile":"1g.10gb"}}"#;
        let crun =
            br#"{"ociVersion":"1.0","id":"hk1","pid":0,"root":"rootfs","bundle":"\/b","status":"stopped"}"#;
        let state = State::parse(runc).unwrap();
        assert_eq!(
            (state.id.as_str(), state.pid, state.bundle.as_path()),
            ("hk1", Some(32341), Path::new("/b"))
        );
        assert_eq!(state.annotations["mig.profile"], "1g.10gb");
        let state = State::parse(crun).unwrap();
        assert_eq!((state.pid, state.annotations.len()), (None, 0));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for bytes in [
            "",
            "{}",
            "[]",
            r#"{"ociVersion":"1.0","id":"","status":"stopped","bundle":"/b"}"#,
        ] {
            assert!(State::parse(bytes.as_bytes()).is_err(), "{bytes}");
        }
        let escaping = r#"{"ociVersion":"1.0","id":"../x","status":"stopped","bundle":"/b"}"#;
        assert!(
            State::parse(escaping.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("'../x' is no container id")
        );
    }
}
