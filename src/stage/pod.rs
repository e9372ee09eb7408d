//! What a container asks for, by its annotations and its place in a pod: for every stage the same answer.

use crate::failure::Failure;
use crate::oci::PodRole;
use crate::request::{Request, keys};

/// What the container with these annotations asks for. None where it doesn't, or is a pod's sandbox: what the pod asks
/// for is for its containers.
///
/// # Errors
/// A usage failure for a request that doesn't parse, or annotations of engines that contradict each other.
pub fn asked<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Result<Option<Request>, Failure> {
    if !annotations.clone().any(|(key, _)| keys::is_ours(key)) {
        return Ok(None);
    }
    match PodRole::of(annotations.clone())? {
        PodRole::Sandbox => Ok(None),
        role => Request::from_annotations(annotations, role.container()),
    }
}
