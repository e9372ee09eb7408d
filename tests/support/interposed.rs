//! The runtime under test, `oci-mig-runtime`, set up before runc or crun for engines that call it.

use std::path::Path;

use super::cgroups::View;
use super::containerd::Setup;
use super::docker::Docker;
use super::machine::Machine;
use super::runtime::Runtime;

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_oci-mig-runtime");

/// The variable of the engine's environment that names its configuration.
pub const CONFIG: &str = "OCI_MIG_HOOK_CONFIG";

impl Machine {
    /// From now on that runtime is the real one.
    pub fn put_before(&self, runtime: Runtime) {
        self.configure("runtime.path", &format!("{:?}", runtime.program()));
    }

    /// A containerd whose runtimes find this machine's configuration.
    pub fn containerd(&self, runtime: Runtime, view: View) -> Setup {
        self.put_before(runtime);
        Setup::new(view).env(CONFIG, &self.config())
    }

    /// A dockerd whose containers the program runs, and whose environment may ask.
    #[track_caller]
    pub fn docker(&self, runtime: Runtime, view: View) -> Docker {
        self.configure("requests.environment", "true");
        Docker::start(self.containerd(runtime, view), Path::new(PROGRAM))
    }
}
