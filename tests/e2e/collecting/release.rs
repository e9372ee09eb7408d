//! `release`.

use std::fs;
use std::path::PathBuf;

use super::{Place, short};
use crate::support::container::Container;

/// By each of its names, and by how its container's id begins.
#[test]
fn of_a_container_that_is_gone_by_each_name() {
    let place = Place::new(1);
    for by in ["container", "beginning", "device", "lease"] {
        let bundle = place.bundle();
        let (gone, pid) = place.ended(&bundle);
        let device = place.devices().remove(0);
        let name = match by {
            "container" => gone.id().to_owned(),
            "beginning" => short(&gone),
            "device" => device.clone(),
            _ => place.lease_of(&gone),
        };
        let said = place.call("release", &[&name]).ok();
        let line = format!(
            "released {device} (1g.10gb) of container {}: its process {pid} is gone\n",
            short(&gone)
        );
        assert_eq!(said.stdout, line, "{by}");
        place.machine.assert_free(by);
    }
}

#[test]
fn of_a_container_that_lives_only_by_force() {
    let place = Place::new(1);
    let bundle = place.bundle();
    let living = place.living(&bundle);
    let (device, pid) = (place.devices().remove(0), living.pid());
    let said = place.call("release", &[living.id()]);
    assert_eq!(said.code(), 1, "{said}");
    let line = format!(
        "oci-mig-hook: {device} (1g.10gb) stays with container {}: its process {pid} lives; end the container first; \
         --force takes it away all the same, and the next container may get it while this one still uses it\n",
        short(&living)
    );
    assert_eq!((said.stderr.as_str(), said.stdout.as_str()), (line.as_str(), ""));
    assert_eq!(place.machine.leases(), 1);

    let said = place.call("release", &[living.id(), "--force"]).ok();
    let line = format!(
        "released {device} (1g.10gb) of container {}: its process {pid} lives; it may go on using what it has open\n",
        short(&living)
    );
    assert_eq!(said.stdout, line);
    place.machine.assert_free("by force");
    living.delete(true).ok();
}

#[test]
fn what_nobody_holds_and_what_is_several() {
    let place = Place::new(2);
    let said = place.call("release", &["nobody"]);
    assert_eq!(said.code(), 1, "{said}");
    let line = "oci-mig-hook: no lease of 'nobody': nothing of that name has a lease; \
                see 'oci-mig-hook status'\n";
    assert_eq!(said.stderr, line);

    let bundles = [place.bundle(), place.bundle()];
    let living: Vec<Container> = bundles.iter().map(|bundle| place.living(bundle)).collect();
    let common: String = living[0]
        .id()
        .chars()
        .zip(living[1].id().chars())
        .take_while(|(one, other)| one == other)
        .map(|(c, _)| c)
        .collect();
    assert!(!common.is_empty(), "the ids of these tests begin alike");
    let said = place.call("release", &[&common, "--force"]);
    assert_eq!(said.code(), 2, "{said}");
    let start = format!("oci-mig-hook: '{common}' says too little: it fits 2 leases: ");
    assert!(said.stderr.starts_with(&start), "{said}");
    assert!(
        said.stderr.ends_with("; name the lease by its own id\n"),
        "{said}"
    );
    assert_eq!(place.machine.leases(), 2);
    for container in &living {
        container.delete(true).ok();
    }
}

#[test]
fn a_command_line_that_names_nothing_or_too_much() {
    let place = Place::new(1);
    for args in [&[][..], &[""], &["", "--force"], &["x", "--unreadable"]] {
        assert_eq!(place.call("release", args).code(), 2, "{args:?}");
    }
}

fn spoil(place: &Place, container: &Container) -> PathBuf {
    let path = place
        .machine
        .ledger()
        .join(format!("leases/{}.json", place.lease_of(container)));
    fs::write(&path, "{\"version\":9}").expect("a lease of a newer version");
    path
}

/// Its device is known by its record, and the rest of the node goes on.
#[test]
fn unreadable_and_the_rest_is_served() {
    let place = Place::new(2);
    let said = place.call("release", &["--unreadable"]);
    assert_eq!(said.code(), 1, "{said}");
    let bundles = [place.bundle(), place.bundle()];
    let living = place.living(&bundles[0]);
    let device = place.device_of(&living);
    let pid = living.pid();
    let path = spoil(&place, &living);

    let status = place.call("status", &[]);
    assert_eq!(status.code(), 3, "{status}");
    let row = status
        .stdout
        .lines()
        .find(|line| line.contains(&device))
        .expect("its row");
    assert!(
        row.contains(&short(&living)) && row.contains("unreadable"),
        "{status}"
    );
    let why = format!(
        "oci-mig-hook: ledger: unreadable lease file {}: its version is 9, and this program knows versions up to 3; \
         its devices stay out of use until its container has ended; use the program that wrote it\n",
        path.display()
    );
    assert_eq!(status.stderr, why);
    let other = place.living(&bundles[1]);
    other.delete(true).ok();

    let said = place.call("release", &["--unreadable"]);
    assert_eq!(said.code(), 1, "{said}");
    let line = format!(
        "oci-mig-hook: {device} (1g.10gb) stays with container {}: its process {pid} lives; ",
        short(&living)
    );
    assert!(said.stderr.starts_with(&line), "{said}");
    assert!(path.exists());
    let said = place.call("release", &["--unreadable", "--force"]).ok();
    let line = format!(
        "released {device} (1g.10gb) of container {}: its process {pid} lives; it may go on using what it has open \
         (unreadable lease {})\n",
        short(&living),
        path.display()
    );
    assert_eq!(said.stdout, line);
    place.machine.assert_free("by force");
    living.delete(true).ok();
}

/// It goes by itself once its container has ended: by a collection, or the next reservation.
#[test]
fn unreadable_of_a_container_that_ended() {
    let place = Place::new(1);
    for by in ["gc", "release"] {
        let bundle = place.bundle();
        let (gone, _) = place.ended(&bundle);
        let path = spoil(&place, &gone);
        match by {
            "gc" => drop(place.call("gc", &[]).ok()),
            _ => drop(place.call("release", &["--unreadable"]).ok()),
        }
        assert!(!path.exists(), "{by}");
        place.machine.assert_free(by);
    }
}

/// There is no record, so any device might be its own: whoever says so must know.
#[test]
fn unreadable_and_unknown() {
    let place = Place::new(1);
    let bundle = place.bundle();
    place.living(&bundle).delete(true).ok();
    let path = place.machine.ledger().join("leases/stray.json");
    fs::write(&path, "garbage").expect("a stray file");
    let said = place.call("release", &["--unreadable"]);
    assert_eq!(said.code(), 1, "{said}");
    let line = format!(
        "oci-mig-hook: {} stays: nobody can tell which devices it holds, nor whose it is; end all containers that have a \
         device, and repeat with --force\n",
        path.display()
    );
    assert_eq!(said.stderr, line);
    assert!(path.exists());
    let said = place.json("release", &["--unreadable", "--force"]);
    assert_eq!(said[0]["path"], path.display().to_string(), "{said}");
    assert_eq!(
        (said[0]["devices"].is_null(), said[0]["may_be_used"].as_bool()),
        (true, Some(true))
    );
    assert!(!path.exists());
    fs::write(&path, "garbage").expect("a stray file");
    let said = place.call("release", &["--unreadable", "--force"]).ok();
    let line = format!(
        "removed {}: nobody can tell which devices it held\n",
        path.display()
    );
    assert_eq!(said.stdout, line);
}

/// A container may be called as another's id begins: whoever takes it by the short name would take the other one's.
#[test]
fn a_name_that_is_one_containers_whole_and_anothers_beginning() {
    let place = Place::new(2);
    let bundle = place.bundle();
    let victim = place.living(&bundle);
    let short = &victim.id()[..victim.id().len() - 1];
    let other = place.bundle();
    let mut other = place.engine.container_named(short, &other);
    other.create().ok();
    let said = place.call("release", &[short, "--force"]);
    assert_eq!(said.code(), 2, "{said}");
    assert_eq!(place.machine.leases(), 2);
    place.call("release", &[victim.id(), "--force"]).ok();
    victim.delete(true).ok();
    other.delete(true).ok();
}
