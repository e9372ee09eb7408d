//! Front doors for people.

#![forbid(unsafe_code)]

mod progress;
mod status;
mod table;

pub use status::status;
