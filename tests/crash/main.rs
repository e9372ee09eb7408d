//! Crash injection on the real program: every system call of each stage made to fail, and its processes killed before
//! and after it, on the real folder; then the invariants, judged from outside.
//!
//! Each stage is run once under ptrace(2) for its calls, and then once for each *point*: a call, and what is done to it
//! ([`plan::Blow`]). A normal run tries what changes the ledger, config.json, standard output or anything else, of what
//! only looks at them the first of its kind, and a sample of the rest ([`trial::Stage::is_a_variant`]: a sample of all);
//! `tests/run --long` tries every point. `OCI_MIG_HOOK_CRASH_POINTS=all cargo test --test crash NAME` is one stage, and
//! `OCI_MIG_HOOK_CRASH_ONLY='EIO from read #3 of process 0'` the one point that a violation names.
//!
//! What comes before a program's `main` is left out: the loader's calls and those of Rust's runtime, which come before
//! anything of ours can be half done. So are calls that nobody outside can see anything of ([`kinds`]).

// The end-to-end tests share it: what these don't use, those do.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;

mod call;
mod documents;
mod ground;
mod itself;
mod judge;
mod kinds;
mod leases;
mod maker;
mod plan;
mod recorder;
mod registers;
mod sample;
mod stages;
mod stand_in;
mod striker;
mod tracer;
mod trial;
mod watchdog;
mod watcher;

use stages::{
    by_hand::ByHand,
    create_runtime::Confirms,
    guard::Guard,
    live::Live,
    poststop::Poststop,
    precreate::Precreate,
    precreate_again::PrecreateAgain,
    runtime::{Deletes, Makes},
    waits::Waits,
};
use support::cgroups::View;
use support::runtime::Runtime;
use trial::try_all;

#[test]
fn precreate_reserves() {
    try_all(&Precreate::reserves());
}

#[test]
fn precreate_reserves_first() {
    try_all(&Precreate::reserves_first());
}

#[test]
fn precreate_reserves_anew() {
    try_all(&Precreate::reserves_anew());
}

#[test]
fn precreate_binds_anew() {
    try_all(&PrecreateAgain::new());
}

#[test]
fn precreate_refuses() {
    try_all(&Precreate::refuses());
}

#[test]
fn precreate_waits() {
    try_all(&Waits::new());
}

#[test]
fn precreate_guards() {
    try_all(&Guard::new());
}

#[test]
fn create_runtime_confirms() {
    try_all(&Confirms::new());
}

#[test]
fn create_runtime_serves_on_v1() {
    if View::V1.is_offered() {
        try_all(&Live::new(View::V1));
    }
}

#[test]
fn create_runtime_serves_on_v2() {
    try_all(&Live::new(View::V2));
}

#[test]
fn create_runtime_serves_in_a_user_namespace() {
    try_all(&Live::in_a_user_namespace(View::V2));
}

#[test]
fn poststop_by_name() {
    try_all(&Poststop::by_name());
}

#[test]
fn poststop_by_container() {
    try_all(&Poststop::by_container());
}

#[test]
fn gc() {
    try_all(&ByHand::gc());
}

#[test]
fn release() {
    try_all(&ByHand::release());
}

#[test]
fn runtime_create_runc() {
    try_all(&Makes::create(Runtime::Runc));
}

#[test]
fn runtime_create_crun() {
    try_all(&Makes::create(Runtime::Crun));
}

#[test]
fn runtime_run_runc() {
    try_all(&Makes::run(Runtime::Runc));
}

#[test]
fn runtime_run_crun() {
    try_all(&Makes::run(Runtime::Crun));
}

#[test]
fn runtime_delete_runc() {
    try_all(&Deletes::new(Runtime::Runc));
}

#[test]
fn runtime_delete_crun() {
    try_all(&Deletes::new(Runtime::Crun));
}
