//! A VM runtime calls its hooks with a process on the host: its shim's, its hypervisor's. What would be put in there
//! would be put on the host.

use serde_json::json;

use super::{ASKS, REFUSED, assert_says, state};
use crate::support::bundle::Bundle;
use crate::support::machine::Machine;

/// The state's process is this very test: in the mount namespace in which the hook runs too.
#[test]
fn refused_before_anything_is_reserved() {
    let machine = Machine::named("one-gpu");
    let bundle = Bundle::new().write();
    let mut state = state(ASKS);
    state["bundle"] = json!(bundle.folder());
    let line = format!(
        "no MIG device for this container: its process {} is in this hook's own mount namespace: a VM runtime (Kata, \
         Firecracker, Cloud Hypervisor), or a spec without a mount namespace; give a VM a whole GPU by VFIO or a \
         MIG-backed vGPU; give any other container a new mount namespace",
        std::process::id()
    );
    for stage in ["createRuntime", "prestart"] {
        assert_says(&machine.stage(stage, &state.to_string()), REFUSED, &line);
        assert!(!machine.ledger().exists(), "{stage}");
    }
}
