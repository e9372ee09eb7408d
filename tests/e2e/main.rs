//! End to end, with the real engines.
