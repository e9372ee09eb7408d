//! The C functions. Each takes its arguments apart, looks one thing up and writes it out; what all have in common
//! is in `call`.
//!
//! Of a function with several versions all are here that a client since R450 may look for.

mod compute_instance;
mod device;
mod gpu_instance;
mod mig;
mod process;
mod system;

/// Defines exported functions and the list of their names.
///
/// Every caller of one is C: it promises that its pointers are null or refer to what nvml.h says.
macro_rules! exports {
    ($(fn $($name:ident)|+ ($($arg:ident: $type:ty),* $(,)?) |$call:ident| $body:block)*) => {
        /// The functions of this file.
        pub const NAMES: &[&str] = &[$($(stringify!($name)),+),*];
        $(exports! { @each [$($name)+] ($($arg: $type),*) $call $body })*
    };
    (@each [$name:ident $($more:ident)*] $args:tt $call:ident $body:block) => {
        exports! { @one $name $args $call $body }
        exports! { @each [$($more)*] $args $call $body }
    };
    (@each [] $args:tt $call:ident $body:block) => {};
    (@one $name:ident ($($arg:ident: $type:ty),*) $call:ident $body:block) => {
        #[allow(non_snake_case, reason = "NVML's own names")]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $type),*) -> u32 {
            $crate::call::enter(stringify!($name), |$call| $body)
        }
    };
}
use exports;

/// Every function the library exports but `nvmlErrorString`, which has no code to answer with.
pub fn names() -> impl Iterator<Item = &'static str> {
    let all = [
        device::NAMES,
        compute_instance::NAMES,
        gpu_instance::NAMES,
        mig::NAMES,
        process::NAMES,
        system::NAMES,
    ];
    all.into_iter().flatten().copied()
}

/// Whether the library exports a function of that name, with or without its version.
pub fn is_exported(name: &str) -> bool {
    names().any(|export| export == name || crate::state::unversioned(export) == name)
}
