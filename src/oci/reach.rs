//! Which of a container's own rules and devices reach the devices of certain drivers: those that its engine wrote, or
//! whoever told the engine.

use serde_json::Value;

use super::Spec;
use super::rule::{Number, access, allows, is_all_types, is_on_all, number};

/// How a device rule comes to reach a driver's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breadth {
    /// It is on that driver alone.
    Driver,
    /// It is on character devices of every driver.
    Characters,
    /// It is on all devices of every kind.
    Everything,
}

/// The rules that leave devices of that major open to the container, and how broad each is: those that allow any of
/// them and that no later rule takes back.
pub fn rules_reaching(spec: Spec<'_>, major: u32) -> Vec<(&Value, Breadth)> {
    let mut open = Vec::new();
    for rule in spec.array("/linux/resources/devices") {
        let covers = |letter: char| access(rule).is_none_or(|access| access.contains(letter));
        if allows(rule) {
            // The kernel's v1 and runc take `a` for all devices and every access, whatever else the rule says.
            if is_all_types(rule) {
                open.push((rule, Breadth::Everything));
            } else if is_character(rule) && (covers('r') || covers('w')) {
                match number(rule, "major") {
                    Number::All | Number::Odd => open.push((rule, Breadth::Characters)),
                    Number::One(of) if of == major => open.push((rule, Breadth::Driver)),
                    Number::One(_) => {}
                }
            }
        } else if denies_all_of(rule, major) {
            open.clear();
        }
    }
    open
}

/// Whether nothing is said of the devices of that major: then it depends on the runtime, or no rule holds at all.
pub fn is_unlimited(spec: Spec<'_>, major: u32) -> bool {
    let mut rules = spec.array("/linux/resources/devices");
    !rules.any(|rule| denies_all_of(rule, major)) && rules_reaching(spec, major).is_empty()
}

fn denies_all_of(rule: &Value, major: u32) -> bool {
    let covers = |letter: char| access(rule).is_none_or(|access| access.contains(letter));
    let is_drivers = number(rule, "major") == Number::One(major) && number(rule, "minor") == Number::All;
    !allows(rule) && covers('r') && covers('w') && (is_on_all(rule) || (is_drivers && is_character(rule)))
}

/// Whether a number of a device, or of a rule that allows, may stand for this one.
fn may_be(number: Number, wanted: u32) -> bool {
    match number {
        Number::All | Number::Odd => true,
        Number::One(number) => number == wanted,
    }
}

/// The container's own devices that are of these drivers.
pub fn devices_of<'json>(spec: Spec<'json>, majors: &[u32]) -> impl Iterator<Item = &'json Value> {
    let is_theirs = move |device: &&Value| {
        let of = number(device, "major");
        is_character(device) && majors.iter().any(|major| may_be(of, *major))
    };
    spec.array("/linux/devices").filter(is_theirs)
}

/// The numbers of the devices that are on the container's list, and whether each is a block device. What has no number is
/// left out: no rule can be on it.
pub fn listed_devices(spec: Spec<'_>) -> impl Iterator<Item = (bool, (u32, u32))> {
    spec.array("/linux/devices").filter_map(|device| {
        let is_block = device.get("type").and_then(Value::as_str) == Some("b");
        match (number(device, "major"), number(device, "minor")) {
            (Number::One(major), Number::One(minor)) => Some((is_block, (major, minor))),
            _ => None,
        }
    })
}

/// Which of the container's own rules or devices reaches the drivers of `nodes` (major, minor), or any of `majors`,
/// beyond those very nodes: another instance's capability, or the right to configure all.
pub fn other_devices(spec: Spec<'_>, nodes: &[(u32, u32)], majors: &[u32]) -> Option<String> {
    let reaches_others = |of: &&Value| {
        let (major, minor) = (number(of, "major"), number(of, "minor"));
        let exact = nodes
            .iter()
            .any(|(a, b)| (Number::One(*a), Number::One(*b)) == (major, minor));
        let mut drivers = nodes.iter().map(|(major, _)| major).chain(majors);
        drivers.any(|driver| may_be(major, *driver)) && !exact
    };
    let opens = |rule: &&Value| allows(rule) && access(rule).is_none_or(|access| access.contains(['r', 'w']));
    // A rule on all devices is not_isolated's matter: a later one may have taken it back.
    let mut rules = spec
        .array("/linux/resources/devices")
        .filter(opens)
        .filter(|rule| !is_on_all(rule))
        .filter(|rule| is_character(rule));
    let device = || {
        spec.array("/linux/devices")
            .filter(|device| is_character(device))
            .find(reaches_others)
    };
    rules
        .find(reaches_others)
        .map(|rule| format!("its device rule {rule} reaches other NVIDIA devices"))
        .or_else(|| device().map(|device| format!("its device {device} is another of NVIDIA's")))
}

fn is_character(of: &Value) -> bool {
    matches!(
        of.get("type").and_then(Value::as_str),
        None | Some("" | "a" | "c" | "u")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reaching(rules: Value) -> Vec<Breadth> {
        let spec = json!({"linux": {"resources": {"devices": rules}}});
        let reaching = rules_reaching(Spec(&spec), 195);
        reaching.into_iter().map(|(_, breadth)| breadth).collect()
    }

    /// crun on cgroup v2 takes 4294967491 for 195.
    #[test]
    fn a_number_that_cannot_be_may_be_any_to_allow_and_is_none_to_deny() {
        let deny = json!({"allow": false, "access": "rwm"});
        for odd in [
            json!(4_294_967_491_u64),
            json!(4_294_967_295_u64 + 1),
            json!(u64::MAX),
            json!(-4_294_967_101_i64),
            json!(1.5),
        ] {
            let allow = json!({"allow": true, "type": "c", "major": odd, "access": "rwm"});
            assert_eq!(reaching(json!([deny, allow])), [Breadth::Characters], "{odd}");
            let named = json!({"allow": true, "type": "c", "major": 195, "access": "rwm"});
            let not_denied =
                json!({"allow": false, "type": "c", "major": 195, "minor": odd, "access": "rwm"});
            assert_eq!(
                reaching(json!([deny, named, not_denied])),
                [Breadth::Driver],
                "{odd}"
            );
            let asked = json!({"linux": {"resources": {"devices": [deny, {"allow": true, "type": "c", "major": 237, "minor": odd}]}}});
            assert!(other_devices(Spec(&asked), &[(237, 30)], &[]).is_some(), "{odd}");
        }
    }

    #[test]
    fn rules_reach_a_driver_by_name_or_with_all_others() {
        let deny = json!({"allow": false, "access": "rwm"});
        let makes = json!({"allow": true, "type": "c", "access": "m"});
        assert_eq!(reaching(json!([deny, makes])), []);
        for (rule, breadth) in [
            (
                json!({"allow": true, "type": "c", "major": 195, "minor": 0, "access": "r"}),
                Breadth::Driver,
            ),
            (
                json!({"allow": true, "type": "c", "major": 195, "access": "w"}),
                Breadth::Driver,
            ),
            (
                json!({"allow": true, "type": "c", "major": 195, "minor": -1}),
                Breadth::Driver,
            ),
            (
                json!({"allow": true, "type": "c", "access": "rwm"}),
                Breadth::Characters,
            ),
            (
                json!({"allow": true, "type": "c", "major": -1, "minor": 254, "access": "rw"}),
                Breadth::Characters,
            ),
            (json!({"allow": true, "access": "rwm"}), Breadth::Everything),
            (
                json!({"allow": true, "type": "a", "major": 7, "minor": 0, "access": "m"}),
                Breadth::Everything,
            ),
        ] {
            assert_eq!(reaching(json!([deny, rule])), [breadth], "{rule}");
            assert_eq!(reaching(json!([rule, deny])), [], "{rule}");
        }
        for rule in [
            json!({"allow": true, "type": "b", "major": 195, "access": "rwm"}),
            json!({"allow": true, "type": "c", "major": 195, "access": "m"}),
            json!({"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm"}),
            json!({"type": "c", "major": 195, "access": "rwm"}),
        ] {
            assert_eq!(reaching(json!([deny, rule])), [], "{rule}");
        }
    }

    #[test]
    fn only_a_deny_of_all_of_a_driver_closes_it() {
        let all = json!({"allow": true, "access": "rwm"});
        let deny = |major: i64, minor: i64, access: &str| json!({"allow": false, "type": "c", "major": major, "minor": minor, "access": access});
        assert_eq!(reaching(json!([all, deny(195, -1, "rw")])), []);
        for half in [
            deny(195, 0, "rwm"),
            deny(195, -1, "w"),
            deny(10, -1, "rwm"),
            deny(-1, 0, "rwm"),
        ] {
            assert_eq!(reaching(json!([all, half])), [Breadth::Everything], "{half}");
        }
    }

    #[test]
    fn what_reaches_the_same_drivers_must_be_the_very_nodes() {
        let nodes = [(195, 255), (195, 0), (237, 30), (237, 31)];
        let rules = |rules: Value| {
            other_devices(
                Spec(&json!({"linux": {"resources": {"devices": rules}}})),
                &nodes,
                &[508],
            )
        };
        let deny = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "m"}]);
        assert_eq!(rules(deny), None);
        let ours = json!({"allow": true, "type": "c", "major": 237, "minor": 30, "access": "r"});
        let console = json!({"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm"});
        let blocks = json!({"allow": true, "type": "b", "major": 237, "access": "rwm"});
        let only_makes = json!({"allow": true, "type": "c", "major": 237, "access": "m"});
        assert_eq!(rules(json!([ours, console, blocks, only_makes])), None);
        for other in [
            json!({"allow": true, "type": "c", "major": 237, "access": "rwm"}),
            json!({"allow": true, "type": "c", "major": 237, "minor": 1, "access": "r"}),
            json!({"allow": true, "type": "c", "major": -1, "minor": 1, "access": "r"}),
            json!({"allow": true, "major": 195, "minor": 3}),
            json!({"allow": true, "type": "c", "major": 508, "minor": 0, "access": "rw"}),
        ] {
            assert!(
                rules(json!([other]))
                    .unwrap()
                    .contains("reaches other NVIDIA devices"),
                "{other}"
            );
        }
        let device = |major: u32, minor: u32| {
            let devices = json!({"linux": {"devices": [{"path": "/dev/x", "type": "c", "major": major, "minor": minor}]}});
            other_devices(Spec(&devices), &nodes, &[508])
        };
        assert_eq!(device(237, 31), None);
        assert!(device(237, 1).unwrap().contains("another of NVIDIA's"));
        assert!(device(508, 0).unwrap().contains("another of NVIDIA's"));
        assert_eq!(device(10, 200), None);
    }
}
