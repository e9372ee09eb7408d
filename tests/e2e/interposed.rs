//! oci-mig-runtime before the real runtimes, called as engines call them: what its containers have, when their devices
//! come back, what it leaves alone, and what it says when it can't.

mod calls;
mod device;
mod life;
mod refusals;

use crate::support::bundle::Bundle;
use crate::support::cgroups::View;
use crate::support::machine::Machine;
use crate::support::runtime::{Engine, Runtime, everywhere};

const PROFILE: &str = "1g.10gb";

/// A machine with as many devices of one profile, and a runtime behind oci-mig-runtime.
struct Place {
    machine: Machine,
    engine: Engine,
    who: String,
}

impl Place {
    fn new(runtime: Runtime, view: View, devices: usize) -> Self {
        let machine = Machine::with(&vec![PROFILE; devices]);
        Self {
            engine: Engine::new(runtime, view).interposed(&machine),
            machine,
            who: format!("{runtime} {view}"),
        }
    }
}

/// A bundle that asks, and has no hooks.
fn asking(script: &str) -> Bundle {
    Bundle::new().annotation("mig.profile", PROFILE).script(script)
}

/// The story with each runtime in each view.
fn with_each_runtime(devices: usize, story: impl Fn(&Place)) {
    for (runtime, view) in everywhere() {
        story(&Place::new(runtime, view, devices));
    }
}

/// One runtime, in the first view that it works in: for what doesn't depend on it.
fn somewhere(devices: usize) -> Place {
    let runtime = Runtime::Runc;
    let view = *runtime.views().first().expect("a view");
    Place::new(runtime, view, devices)
}
