//! One id in two of containerd's namespaces is two containers.

use std::path::Path;

use crate::support::ctr::Namespace;
use crate::support::machine::INTERPOSED;

use super::{ASK, with_each_runtime};

#[test]
fn the_same_id_in_two_namespaces() {
    with_each_runtime(&["1g.10gb", "1g.10gb"], |place| {
        let two = place.containerd.namespace("two", Path::new(INTERPOSED));
        let id = Namespace::fresh_id();
        place.one.sleeper(&id, &[ASK]);
        let first = place.machine.taken();
        assert_eq!(first.len(), 1, "{}: {first:?}", place.who);
        two.sleeper(&id, &[ASK]);
        let both = place.machine.taken();
        assert_eq!(both.len(), 2, "{}: each has its own: {both:?}", place.who);
        place.the_next_one_is_refused();

        place.one.call(&["tasks", "delete", "--force", &id]).ok();
        let second = place.machine.taken();
        assert_eq!(second.len(), 1, "{}: {second:?}", place.who);
        assert!(
            first.keys().all(|uuid| !second.contains_key(uuid)),
            "{}: {second:?}",
            place.who
        );

        // Once more, and the other one ends.
        place.one.call(&["tasks", "start", "--detach", &id]).ok();
        assert_eq!(both, place.machine.taken(), "{}", place.who);
        two.remove(&id);
        assert_eq!(first, place.machine.taken(), "{}", place.who);
        // Whoever removes once more what is gone takes nothing away.
        two.remove(&id);
        assert_eq!(first, place.machine.taken(), "{}", place.who);
        place.one.remove(&id);
        place.machine.assert_free(&place.who);
    });
}
