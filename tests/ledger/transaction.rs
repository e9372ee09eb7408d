//! Reserve, confirm, release: two reservations never get one device, and what one does another undoes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use oci_mig_hook::confirm::{self, Claim};
use oci_mig_hook::failure::Failure;
use oci_mig_hook::lease::liveness::Here;
use oci_mig_hook::lease::{Container, Judge, Lease, LeaseId, LeaseState, LeasedDevice, LeasedGpu, Ledger};
use oci_mig_hook::mig::Gpus;
use oci_mig_hook::policy::Limits;
use oci_mig_hook::release::{self, Ended};
use oci_mig_hook::request::Request;
use oci_mig_hook::reserve::{Asker, Reserver};

use crate::node::{Scratch, SevenSlices, WithoutNodesBefore, called, container, container_of};

const PENDING: Duration = Duration::from_secs(120);

pub fn reserve(
    ledger: &Ledger,
    asks: &[(&str, &str)],
    container: Container,
    state: LeaseState,
) -> Result<Lease, Failure> {
    reserve_on(&SevenSlices, ledger, asks, container, state)
}

pub fn reserve_on(
    gpus: &dyn Gpus,
    ledger: &Ledger,
    asks: &[(&str, &str)],
    container: Container,
    state: LeaseState,
) -> Result<Lease, Failure> {
    let request = Request::from_annotations(asks.iter().copied(), None)
        .unwrap()
        .unwrap();
    let (here, limits) = (Here::look().unwrap(), Limits::default());
    let reserver = Reserver {
        gpus,
        ledger,
        here: &here,
        limits: &limits,
        pending: PENDING,
        waiting: 64,
        patience: None,
        tell: &|_| {},
    };
    reserver.reserve(Asker {
        container,
        state,
        request,
    })
}

pub fn one(ledger: &Ledger, id: &str) -> Result<Lease, Failure> {
    reserve(
        ledger,
        &[("mig.profile", "1g.10gb")],
        container(id),
        LeaseState::Held,
    )
}

/// A container whose process has ended.
pub fn gone(id: &str) -> Container {
    let mut child = Command::new("sleep").arg("100").spawn().unwrap();
    let process = Here::look().unwrap().name_process(child.id() as i32).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    container_of(id, process)
}

#[test]
fn seven_get_one_each_and_the_eighth_is_told_who_has_them() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let leases: Vec<_> = (0..7)
        .map(|k| one(&ledger, &format!("container-{k}")).unwrap())
        .collect();
    let uuids: BTreeSet<_> = leases.iter().flat_map(|lease| lease.names()).collect();
    assert_eq!(uuids.len(), 7);
    let refusal = one(&ledger, "container-8").unwrap_err();
    assert_eq!(refusal.exit() as i32, 1);
    assert!(refusal.to_string().contains("container-0"), "{refusal}");
    assert_eq!(ledger.contents().unwrap().leases.len(), 7);
}

#[test]
fn several_are_all_or_none() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let four = [("mig.profile", "1g.10gb"), ("mig.count", "4")];
    let lease = reserve(&ledger, &four, container("a"), LeaseState::Held).unwrap();
    assert_eq!(lease.names().collect::<BTreeSet<_>>().len(), 4);
    reserve(&ledger, &four, container("b"), LeaseState::Held).unwrap_err();
    assert_eq!(ledger.contents().unwrap().leases, [lease]);
}

#[test]
fn who_asks_again_for_the_same_gets_the_same() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let first = one(&ledger, "a").unwrap();
    assert_eq!(one(&ledger, "a").unwrap(), first);
    assert_ne!(one(&ledger, "b").unwrap().id, first.id);
}

#[test]
fn a_reservation_that_is_asked_for_again_gets_its_whole_time_again() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let asks = [("mig.profile", "1g.10gb")];
    let mut lease = reserve(&ledger, &asks, container("a"), LeaseState::Pending).unwrap();
    lease.written -= 115_000;
    ledger.lock().unwrap().put(&lease).unwrap();
    let again = reserve(&ledger, &asks, container("a"), LeaseState::Pending).unwrap();
    assert_eq!(again.id, lease.id);
    assert!(again.written >= lease.written + 115_000);
    assert_eq!(ledger.contents().unwrap().leases, [again]);
}

#[test]
fn a_container_that_is_made_anew_gives_up_what_it_was_waiting_with() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let all = [("mig.profile", "1g.10gb"), ("mig.count", "7")];
    let first = reserve(&ledger, &all, container("a"), LeaseState::Pending).unwrap();
    let six = [("mig.profile", "1g.10gb"), ("mig.count", "6")];
    let second = reserve(&ledger, &six, container("a"), LeaseState::Pending).unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(ledger.contents().unwrap().leases, [second]);
}

#[test]
fn a_refused_second_try_leaves_the_first_as_it_was() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let first = reserve(
        &ledger,
        &[("mig.profile", "1g.10gb")],
        container("a"),
        LeaseState::Pending,
    )
    .unwrap();
    reserve(
        &ledger,
        &[("mig.profile", "2g.20gb")],
        container("a"),
        LeaseState::Pending,
    )
    .unwrap_err();
    assert_eq!(ledger.contents().unwrap().leases, [first]);
}

#[test]
fn a_device_whose_nodes_cannot_be_had_is_passed_over() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let asks = [("mig.profile", "1g.10gb"), ("mig.count", "5")];
    let lease = reserve_on(
        &WithoutNodesBefore(2),
        &ledger,
        &asks,
        container("a"),
        LeaseState::Held,
    )
    .unwrap();
    assert_eq!(
        lease.names().collect::<Vec<_>>(),
        (2..7).map(called).collect::<Vec<_>>()
    );
    // Where no other serves, the first such failure says why; nothing is recorded.
    let failure = reserve_on(
        &WithoutNodesBefore(7),
        &ledger,
        &asks,
        container("b"),
        LeaseState::Held,
    )
    .unwrap_err();
    assert!(failure.to_string().contains("held"), "{failure}");
    release::undo(&mut ledger.lock().unwrap(), &lease).unwrap();
    let failure = reserve_on(
        &WithoutNodesBefore(7),
        &ledger,
        &asks,
        container("b"),
        LeaseState::Held,
    )
    .unwrap_err();
    assert_eq!(failure.to_string(), "no node for slice 0: made up");
    assert_eq!(ledger.contents().unwrap().leases, []);
}

#[test]
fn what_a_gone_holder_held_is_free_again() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let all = [("mig.profile", "1g.10gb"), ("mig.count", "7")];
    for state in [LeaseState::Held, LeaseState::Pending] {
        reserve(&ledger, &all, gone("a"), state).unwrap();
        let lease = reserve(&ledger, &all, container("b"), LeaseState::Held).unwrap();
        assert_eq!(ledger.contents().unwrap().leases, std::slice::from_ref(&lease));
        release::undo(&mut ledger.lock().unwrap(), &lease).unwrap();
    }
}

/// Another maker of the same container asked for the same, got this very reservation, and its container runs: found by the
/// model (tests/protocol).
#[test]
fn who_fails_after_another_took_its_reservation_over_takes_nothing_back() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let ask = [("mig.profile", "1g.10gb")];
    let first = reserve(&ledger, &ask, container("a"), LeaseState::Pending).unwrap();
    let again = reserve(&ledger, &ask, container("a"), LeaseState::Pending).unwrap();
    assert_eq!(first.id, again.id);
    let held = Lease {
        state: LeaseState::Held,
        ..again
    };
    ledger.lock().unwrap().put(&held).unwrap();
    release::undo(&mut ledger.lock().unwrap(), &first).unwrap();
    assert_eq!(ledger.contents().unwrap().leases, std::slice::from_ref(&held));
    release::undo(&mut ledger.lock().unwrap(), &held).unwrap();
    assert_eq!(ledger.contents().unwrap().leases, []);
}

/// Its container still has the nodes of that place: they open the new instance too.
#[test]
fn an_instance_made_anew_in_a_leased_ones_place_is_held() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let mut lease = one(&ledger, "a").unwrap();
    let [LeasedDevice::Mig(device)] = lease.devices.as_mut_slice() else {
        panic!("one device")
    };
    device.uuid = "MIG-ffffffff-0000-5000-8000-000000000000".parse().unwrap();
    ledger.lock().unwrap().put(&lease).unwrap();
    let next = one(&ledger, "b").unwrap();
    assert_eq!(next.names().collect::<Vec<_>>(), [called(1)]);
}

/// The driver was loaded anew and numbers its GPUs in another order: the holder's nodes are this GPU's by now.
#[test]
fn what_has_the_nodes_of_a_leased_device_of_another_gpu_is_held() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let mut lease = one(&ledger, "a").unwrap();
    let [LeasedDevice::Mig(device)] = lease.devices.as_mut_slice() else {
        panic!("one device")
    };
    device.uuid = "MIG-ffffffff-0000-5000-8000-000000000000".parse().unwrap();
    device.gpu = "GPU-ffffffff-0000-5000-8000-000000000000".parse().unwrap();
    ledger.lock().unwrap().put(&lease).unwrap();
    let next = one(&ledger, "b").unwrap();
    assert_eq!(next.names().collect::<Vec<_>>(), [called(1)]);
    let [LeasedDevice::Mig(device)] = lease.devices.as_slice() else {
        panic!("one device")
    };
    let whole = LeasedDevice::Gpu(LeasedGpu {
        uuid: device.gpu.clone(),
        pci: device.pci.unwrap(),
        minor: device.minor.unwrap(),
        nodes: Vec::new(),
    });
    ledger
        .lock()
        .unwrap()
        .put(&Lease {
            devices: vec![whole],
            ..lease
        })
        .unwrap();
    assert!(
        one(&ledger, "c").is_err(),
        "every instance has a part of its nodes"
    );
}

#[test]
fn while_one_lease_cannot_be_read_nothing_is_handed_out() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let mine = one(&ledger, "a").unwrap();
    let broken = scratch.path().join("leases/broken.json");
    std::fs::write(&broken, "?").unwrap();
    let failure = one(&ledger, "b").unwrap_err();
    assert_eq!(failure.exit() as i32, 3);
    assert!(
        failure.to_string().contains(broken.to_str().unwrap()),
        "{failure}"
    );
    // Others go on: what is known can be given back.
    end(&ledger, Some(&mine.id), "a", "/bundle");
    assert_eq!(
        ledger.contents().unwrap().leases.len(),
        1,
        "its holder, this test, lives: it waits for that end"
    );
}

fn claim(lease: &Lease, id: &str, devices: &[u32]) -> Claim {
    let container = container(id);
    Claim {
        lease: lease.id.clone(),
        devices: devices.iter().map(|k| called(*k)).collect(),
        container,
    }
}

#[test]
fn only_the_container_that_it_was_made_for_can_confirm() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let here = Here::look().unwrap();
    let lease = reserve(
        &ledger,
        &[("mig.profile", "1g.10gb")],
        container("a"),
        LeaseState::Pending,
    )
    .unwrap();
    let mut locked = ledger.lock().unwrap();
    let refused = |claim: Claim, why: &str| {
        let failure = confirm::confirm(&locked, &here, claim).unwrap_err();
        assert!(failure.to_string().contains(why), "{failure}");
        assert_eq!(failure.exit() as i32, 3);
    };
    refused(claim(&lease, "b", &[0]), "is container a's");
    refused(claim(&lease, "a", &[1]), "other devices");
    refused(claim(&lease, "a", &[]), "other devices");
    refused(
        Claim {
            lease: LeaseId::random().unwrap(),
            ..claim(&lease, "a", &[0])
        },
        "reservation is gone",
    );
    // Twice is harmless, by the same process; another run of the same container is not the same.
    confirm::confirm(&locked, &here, claim(&lease, "a", &[0]))
        .unwrap()
        .hold(&mut locked)
        .unwrap();
    confirm::confirm(&locked, &here, claim(&lease, "a", &[0]))
        .unwrap()
        .hold(&mut locked)
        .unwrap();
    assert_eq!(locked.get(&lease.id).unwrap().unwrap().state, LeaseState::Held);
    let other_run = Claim {
        container: gone("a"),
        ..claim(&lease, "a", &[0])
    };
    let failure = confirm::confirm(&locked, &here, other_run).unwrap_err();
    assert!(failure.to_string().contains("earlier run"), "{failure}");
}

/// Announces a container's end, with or without its lease's name.
fn end(ledger: &Ledger, lease: Option<&LeaseId>, id: &str, bundle: &str) {
    let here = Here::look().unwrap();
    let judge = Judge::new(&here, PENDING);
    let mut locked = ledger.lock().unwrap();
    let ended = Ended {
        id,
        bundle: Path::new(bundle),
    };
    match lease {
        Some(lease) => release::named(&mut locked, judge, lease, ended).unwrap(),
        None => release::of_container(&mut locked, judge, ended).unwrap(),
    }
}

#[test]
fn a_release_by_name_gives_back_that_containers_lease_and_no_others() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let lease = reserve(
        &ledger,
        &[("mig.profile", "1g.10gb")],
        gone("a"),
        LeaseState::Held,
    )
    .unwrap();
    end(&ledger, Some(&lease.id), "b", "/bundle");
    assert_eq!(ledger.contents().unwrap().leases.len(), 1);
    // A runtime may spell the bundle differently at the end than at the beginning.
    end(&ledger, Some(&lease.id), "a", "/another/spelling/../bundle");
    end(&ledger, Some(&lease.id), "a", "/bundle");
    assert_eq!(ledger.contents().unwrap().leases, []);
}

#[test]
fn a_release_by_container_never_takes_a_living_ones() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(scratch.path()).unwrap();
    let living = one(&ledger, "a").unwrap();
    let dead = reserve(
        &ledger,
        &[("mig.profile", "1g.10gb")],
        gone("a"),
        LeaseState::Held,
    )
    .unwrap();
    assert_ne!(living.id, dead.id);
    end(&ledger, None, "a", "/bundle");
    assert_eq!(ledger.contents().unwrap().leases, [living]);
}

#[test]
fn eight_threads_never_get_one_device_twice() {
    let scratch = Scratch::new();
    let dir = scratch.path().to_owned();
    let granted: Vec<Vec<Lease>> = std::thread::scope(|scope| {
        let ask = |thread: usize| {
            let dir = &dir;
            move || {
                let ledger = Ledger::open(dir).unwrap();
                (0..4)
                    .filter_map(|turn| one(&ledger, &format!("c-{thread}-{turn}")).ok())
                    .collect()
            }
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(ask(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let devices: Vec<_> = granted.iter().flatten().flat_map(|lease| lease.names()).collect();
    assert_eq!(devices.len(), 7, "all were handed out: {devices:?}");
    assert_eq!(
        devices.iter().collect::<BTreeSet<_>>().len(),
        7,
        "each once: {devices:?}"
    );
}
