//! The protocol's model: every order of events tried, and what each check of the rule is for.

mod casts;
mod counterexamples;
mod exhaustive;
mod witnesses;
