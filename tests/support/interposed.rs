//! Engines of this machine's whose containers oci-mig-runtime runs, before runc or crun.

use std::path::Path;

use super::cgroups::View;
use super::containerd::Setup;
use super::docker::Docker;
use super::machine::{CONFIG_VARIABLE, INTERPOSED, Machine};
use super::runtime::Runtime;

impl Machine {
    /// A containerd whose runtimes find this machine's configuration.
    pub fn containerd(&self, runtime: Runtime, view: View) -> Setup {
        self.stand_before(&runtime.program());
        Setup::new(view).env(CONFIG_VARIABLE, &self.config())
    }

    /// A dockerd whose containers' environment may ask.
    #[track_caller]
    pub fn docker(&self, runtime: Runtime, view: View) -> Docker {
        self.configure("requests.environment", "true");
        Docker::start(self.containerd(runtime, view), Path::new(INTERPOSED))
    }
}
