//! Lays out a simulated MIG node, so that everything can be run where there is no GPU: `fake-node up NODE.json DIR`.
//!
//! ```text
//! DIR/config.toml                                  points oci-mig-hook here
//! DIR/state.json                                   what the library answers from
//! DIR/lib/libnvidia-ml.so.1                        fake-nvml
//! DIR/proc/devices                                 the majors
//! DIR/proc/driver/nvidia/{version,params,gpus,capabilities}
//! DIR/proc/driver/nvidia-caps/mig-minors
//! DIR/dev/nvidia*, DIR/dev/nvidia-caps/*           real character nodes of majors that no driver of this machine has
//! DIR/{etc,lib,usr}                                the driver's libraries, programs and firmware, if NODE.json has them
//! DIR/trace                                        if someone makes it: a line for each NVML call
//! ```
//!
//! ```text
//! spec.rs     NODE.json as written
//! catalog.rs  profiles.json: what is known of each GPU model
//! place.rs    where instances lie, and the ids that follow from it
//! plan.rs     NODE.json with every default filled in
//! majors.rs   which device majors a node gets
//! proc.rs     the plan as /proc files
//! dev.rs      the plan as device nodes
//! files.rs    the driver's libraries, programs and firmware
//! elf.rs      libraries with nothing in them
//! set.rs      faults, set while a node is up
//! node.rs     a node that is up
//! view.rs     what it holds, and its trace
//! scratch.rs  a node for the length of a test
//! ```

#![forbid(unsafe_code)]

mod catalog;
mod dev;
mod elf;
mod files;
mod majors;
mod node;
mod place;
mod plan;
mod proc;
mod scratch;
mod set;
mod spec;
mod uuid;
mod view;

pub use elf::{Bits, library as elf_library};
pub use fake_nvml::exports::names as exported_functions;
pub use fake_nvml::state::{MigMode, State};
pub use files::{LEFT_OVER, plant as plant_driver};
pub use node::{Node, down, up, up_spec};
pub use scratch::{Scratch, nodes_dir};
pub use spec::{CapNodes, ComputeSpec, GpuSpec, IdMap, InstanceSpec, MajorsSpec, NodeSpec, Shown};
pub use view::{Device, TraceLine, WholeGpu};
