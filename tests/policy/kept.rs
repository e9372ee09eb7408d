//! What is kept for those who wait: nobody takes what an earlier one could be served with, and the others pass.

use oci_mig_hook::mig::Inventory;
use oci_mig_hook::policy::{Earlier, Limits, choose, keep};

use crate::node::{A100_40, H100_80, IdMap, gpu, node};
use crate::{SEVEN, held, name, request};

fn waits(words: &str, who: &str) -> Earlier {
    Earlier {
        request: request(words),
        name: who.to_owned(),
        avoids: Vec::new(),
    }
}

/// What `words` gets where these devices are held and those wait; or the refusal.
fn gets(words: &str, node: &Inventory, names: &[&str], earlier: &[Earlier]) -> Result<Vec<String>, String> {
    let held = keep(earlier, node, held(node, names), &Limits::default());
    let chosen = choose(&request(words), node, &held, &Limits::default());
    let chosen = chosen.map_err(|refusal| oci_mig_hook::failure::Failure::from(refusal).to_string())?;
    Ok(chosen.into_iter().map(name).collect())
}

fn seven() -> Inventory {
    node(vec![gpu(&A100_40, 0, 1, IdMap::Identity, SEVEN)])
}

fn all(node: &Inventory) -> Vec<String> {
    node.devices().map(name).collect()
}

#[test]
fn what_an_earlier_one_will_take_is_kept_and_no_more() {
    let node = seven();
    let all = all(&node);
    let (free, held): (Vec<_>, Vec<_>) = all
        .iter()
        .map(String::as_str)
        .partition(|it| *it == all[6] || *it == all[5]);
    let one = [waits("profile=1g.5gb", "first")];
    assert_eq!(gets("profile=1g.5gb", &node, &held, &one).unwrap(), [free[1]]);
    let two = [
        waits("profile=1g.5gb", "first"),
        waits("profile=1g.5gb", "second"),
    ];
    let refusal = gets("profile=1g.5gb", &node, &held, &two).unwrap_err();
    assert!(
        refusal.contains("kept for first") && refusal.contains("kept for second"),
        "{refusal}"
    );
    assert!(refusal.starts_with("no free 1g.5gb: 7 of 7 held ("), "{refusal}");
}

#[test]
fn one_who_needs_several_gathers_what_comes_free() {
    let node = seven();
    let all = all(&node);
    let held: Vec<&str> = all.iter().map(String::as_str).take(6).collect();
    let three = [waits("profile=1g.5gb count=3", "many")];
    assert!(
        gets("profile=1g.5gb", &node, &held, &three)
            .unwrap_err()
            .contains("kept for many")
    );
}

#[test]
fn who_can_never_be_served_and_who_wants_something_else_keep_nothing() {
    let large = gpu(&H100_80, 1, 2, IdMap::Identity, &[("7g.80gb", 0, &[])]);
    let node = node(vec![gpu(&A100_40, 0, 1, IdMap::Identity, SEVEN), large]);
    let of_large = name(node.devices().last().unwrap());
    for words in ["profile=1g.5gb count=8", "profile=3g.20gb", "profile=7g.80gb"] {
        let earlier = [waits(words, "earlier")];
        assert!(
            gets("profile=1g.5gb", &node, &[&of_large], &earlier).is_ok(),
            "{words}"
        );
    }
    // But what it could be served with is its own.
    let earlier = [waits("profile=7g.80gb", "earlier")];
    assert!(
        gets("profile=7g.80gb", &node, &[], &earlier)
            .unwrap_err()
            .contains("kept for earlier")
    );
    assert!(
        gets("memory=40GB", &node, &[], &earlier)
            .unwrap_err()
            .contains("kept for earlier")
    );
}

/// It knows, and nobody else does, that somebody uses the device that the rules would give it.
#[test]
fn what_an_earlier_one_avoids_is_not_kept_for_it() {
    let node = seven();
    let all = all(&node);
    let held: Vec<&str> = all.iter().map(String::as_str).take(5).collect();
    let used = node.devices().nth(5).unwrap().name();
    let earlier = [Earlier {
        avoids: vec![used],
        ..waits("profile=1g.5gb", "first")
    }];
    assert_eq!(
        gets("profile=1g.5gb", &node, &held, &earlier).unwrap(),
        [all[5].as_str()]
    );
}
