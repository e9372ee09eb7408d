//! What `ctr` says of a container that is refused.

use crate::reasons::{assert_said, no_such_profile};
use crate::support::ctr::Namespace;
use crate::support::process::run;
use crate::support::stream::Stream;

use super::with_each_runtime;

/// No GPU has that profile.
const NONE: &str = "--annotation=mig.profile=9g.90gb";

#[test]
fn the_line_is_in_what_ctr_says() {
    with_each_runtime(&["1g.10gb"], |place| {
        let line = no_such_profile(place.machine);
        let refused = || place.one.foreground(&Namespace::fresh_id(), &[NONE], &["true"]);
        for stream in Stream::ALL {
            let said = stream.read(&mut refused());
            assert_said(&said, &line, &format!("{} {stream:?}", place.who));
        }
        assert_eq!(run(&mut refused()).code(), 1, "{}", place.who);
        place.machine.assert_free(&place.who);
    });
}
