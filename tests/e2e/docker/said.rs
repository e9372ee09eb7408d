//! What `docker` says of a container that is refused.

use crate::reasons::{assert_said, no_such_profile};
use crate::support::process::run;
use crate::support::stream::Stream;

use super::with_each_runtime;

/// What `docker run` exits with where the container could not be created.
const NOT_CREATED: i32 = 125;

#[test]
fn the_line_is_in_what_docker_says() {
    with_each_runtime(|place| {
        let line = no_such_profile(&place.machine);
        // No GPU has that profile.
        let none = place.docker.ask("profile", "9g.90gb");
        let refused = || place.docker.foreground(&[&none], &["true"]);
        for stream in Stream::ALL {
            let said = stream.read(&mut refused());
            assert_said(&said, &line, &format!("{} {stream:?}", place.who));
        }
        assert_eq!(run(&mut refused()).code(), NOT_CREATED, "{}", place.who);
        place.machine.assert_free(&place.who);
    });
}
