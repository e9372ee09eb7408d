//! A `libnvidia-ml.so.1` for machines without a GPU: it answers NVML's questions from the `state.json` that
//! `fake-node up` wrote beside it.
//!
//! ```text
//! exports/   the C functions, thin: arguments in, one lookup, result out
//! call.rs    what every call has in common: faults, trace, delays, panics
//! session.rs what one nvmlInit read: the topology that handles keep answering from
//! live.rs    what is read again at every call: faults, processes, the trace file
//! handle.rs  what an opaque NVML pointer is here
//! state.rs   state.json, shared with fake-node
//! abi.rs     the pointers that callers pass: nearly all of the unsafe code
//! layout.rs  NVML's structs
//! place.rs   which node this copy of the library belongs to
//! code.rs    NVML's return codes
//! ```
//!
//! Behaviour follows nvml.h and NVIDIA's MIG guide; where both are silent, the stricter answer is given, so that
//! a client that works here leans on nothing that a driver might not do.

mod abi;
mod call;
pub mod code;
pub mod exports;
mod handle;
mod layout;
mod live;
mod place;
pub mod session;
pub mod state;
