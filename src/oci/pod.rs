//! A container's place in a Kubernetes pod, as engines write it into annotations. Pure.
//!
//! containerd and CRI-O write theirs last, so that no pod's author can. On Podman and Docker they are whatever an image
//! or a user says, and gain nothing: who claims to be a sandbox gets nothing, and who claims a name could as well have
//! asked without one.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::failure::Failure;

/// containerd: `sandbox` or `container`.
const CONTAINERD_TYPE: &str = "io.kubernetes.cri.container-type";
/// containerd: the container's name in the pod.
const CONTAINERD_NAME: &str = "io.kubernetes.cri.container-name";
/// CRI-O, and Podman for the containers of its pods: `sandbox` or `container`.
const CRIO_TYPE: &str = "io.kubernetes.cri-o.ContainerType";
/// CRI-O: `{"name":"web","attempt":1}`. (`io.kubernetes.cri-o.Name` is its name on the whole machine.) Podman names no
/// container of a pod.
const CRIO_METADATA: &str = "io.kubernetes.cri-o.Metadata";

/// What a container is to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodRole {
    /// It holds the pod's namespaces, and runs nothing that anybody asked for.
    Sandbox,
    /// A pod's container whose engine says its name there.
    Container(String),
    /// In no pod, or its engine doesn't say as which container.
    Alone,
}

impl PodRole {
    /// By the annotations of either engine.
    ///
    /// # Errors
    /// A usage failure where they contradict each other: one of them is forged.
    pub fn of<'a>(annotations: impl Iterator<Item = (&'a str, &'a str)>) -> Result<PodRole, Failure> {
        let annotations: BTreeMap<_, _> = annotations.collect();
        let of = |key: &str| annotations.get(key).copied();
        let crio_name = of(CRIO_METADATA).and_then(name_in);
        let containerd = role(of(CONTAINERD_TYPE), of(CONTAINERD_NAME));
        let crio = role(of(CRIO_TYPE), crio_name.as_deref());
        match (containerd, crio) {
            (Some(one), Some(other)) if one != other => Err(contradiction()),
            (Some(role), _) | (None, Some(role)) => Ok(role),
            (None, None) => Ok(PodRole::Alone),
        }
    }

    /// The name that annotations for one container of a pod call it by.
    pub fn container(&self) -> Option<&str> {
        match self {
            PodRole::Container(name) => Some(name),
            PodRole::Sandbox | PodRole::Alone => None,
        }
    }
}

/// By one engine's annotations; none where there are none.
fn role(kind: Option<&str>, name: Option<&str>) -> Option<PodRole> {
    match (kind?, name) {
        ("sandbox", _) => Some(PodRole::Sandbox),
        ("container", Some(name)) if !name.is_empty() => Some(PodRole::Container(name.to_owned())),
        _ => Some(PodRole::Alone),
    }
}

fn name_in(metadata: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    serde_json::from_str(metadata)
        .ok()
        .map(|metadata: Metadata| metadata.name)
}

fn contradiction() -> Failure {
    let what = format!("annotations {CONTAINERD_TYPE} and {CRIO_TYPE}");
    Failure::usage(what, "they contradict each other").remedy("remove the one that the engine did not write")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(annotations: &[(&str, &str)]) -> Result<PodRole, Failure> {
        PodRole::of(annotations.iter().copied())
    }

    fn web() -> Result<PodRole, Failure> {
        Ok(PodRole::Container("web".to_owned()))
    }

    #[test]
    fn each_engines_annotations_are_read() {
        let metadata = r#"{"name":"web","attempt":1}"#;
        for (annotations, expected) in [
            (&[][..], Ok(PodRole::Alone)),
            (&[(CONTAINERD_TYPE, "sandbox")], Ok(PodRole::Sandbox)),
            (&[(CONTAINERD_TYPE, "container"), (CONTAINERD_NAME, "web")], web()),
            // CRI-O's sandbox has metadata too: the pod's.
            (
                &[(CRIO_TYPE, "sandbox"), (CRIO_METADATA, metadata)],
                Ok(PodRole::Sandbox),
            ),
            (&[(CRIO_TYPE, "container"), (CRIO_METADATA, metadata)], web()),
            // Podman's containers of pods.
            (
                &[
                    (CRIO_TYPE, "container"),
                    ("io.kubernetes.cri-o.SandboxID", "09fa"),
                ],
                Ok(PodRole::Alone),
            ),
        ] {
            assert_eq!(role(annotations), expected, "{annotations:?}");
        }
    }

    #[test]
    fn a_name_without_a_type_or_without_letters_is_none() {
        for annotations in [
            &[(CONTAINERD_NAME, "web")][..],
            &[(CRIO_METADATA, r#"{"name":"web"}"#)],
            &[(CONTAINERD_TYPE, "container"), (CONTAINERD_NAME, "")],
            &[(CONTAINERD_TYPE, "podsandbox"), (CONTAINERD_NAME, "web")],
            &[(CRIO_TYPE, "container"), (CRIO_METADATA, "[]")],
            &[(CRIO_TYPE, "container"), (CRIO_METADATA, "{\"name\":")],
        ] {
            assert_eq!(role(annotations), Ok(PodRole::Alone), "{annotations:?}");
        }
    }

    #[test]
    fn engines_that_contradict_each_other_are_an_error() {
        let metadata = (CRIO_METADATA, r#"{"name":"db"}"#);
        for annotations in [
            &[(CONTAINERD_TYPE, "container"), (CRIO_TYPE, "sandbox")][..],
            &[(CONTAINERD_TYPE, "sandbox"), (CRIO_TYPE, "container")],
            &[
                (CONTAINERD_TYPE, "container"),
                (CONTAINERD_NAME, "web"),
                (CRIO_TYPE, "container"),
                metadata,
            ],
        ] {
            let failure = role(annotations).unwrap_err().to_string();
            assert!(failure.contains("contradict each other"), "{failure}");
        }
        let agreed = [(CONTAINERD_TYPE, "sandbox"), (CRIO_TYPE, "sandbox")];
        assert_eq!(role(&agreed), Ok(PodRole::Sandbox));
    }
}
