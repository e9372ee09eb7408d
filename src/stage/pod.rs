//! What a container asks for, by its annotations and its place in a pod: for every stage the same answer.

use crate::failure::Failure;
use crate::oci::{PodRole, Spec};
use crate::request::{Request, keys};

/// What the container with these annotations asks for. None where it doesn't, or is a pod's sandbox: what the pod asks
/// for is for its containers.
///
/// # Errors
/// A usage failure for a request that doesn't parse, or annotations of engines that contradict each other.
pub fn asked_by<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Result<Option<Request>, Failure> {
    if !super::concerns_us(annotations.clone().map(|(key, _)| key)) {
        return Ok(None);
    }
    match PodRole::of(annotations.clone())? {
        PodRole::Sandbox => Ok(None),
        role => Request::from_annotations(annotations, role.container()),
    }
}

/// What the container of that config.json asks for, where `environment` says so by its environment too.
///
/// # Errors
/// As [`asked_by`].
pub fn asked(spec: Spec<'_>, environment: bool) -> Result<Option<Request>, Failure> {
    let request = asked_by(spec.annotations())?;
    if request.is_some() || !environment {
        return Ok(request);
    }
    match Request::from_environment(spec.environment())? {
        Some(request) if PodRole::of(spec.annotations())? != PodRole::Sandbox => Ok(Some(request)),
        _ => Ok(None),
    }
}

/// Whether there is anything to do before that container is made: it asks, or claims to have been served before.
pub fn is_to_be_served(spec: Spec<'_>, request: Option<&Request>) -> bool {
    request.is_some() || spec.annotation(keys::LEASE).is_some()
}
