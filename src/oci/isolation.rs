//! Whether a container can be kept to its own device. One with CAP_SYS_ADMIN in the initial user namespace has every
//! capability of the driver, and one whose rules allow all devices can open every node.

use serde_json::Value;

use super::Spec;

/// Why the container that `spec` describes would have every MIG device of the node; none where it can be kept to its
/// own.
pub fn not_isolated(spec: Spec<'_>) -> Option<String> {
    let own_users = spec.user_namespace();
    if has_capability(spec, "CAP_SYS_ADMIN") && !own_users {
        let why =
            "it has CAP_SYS_ADMIN outside a user namespace (--privileged?), and with it every MIG capability";
        return Some(why.to_owned());
    }
    match allowed_devices(spec) {
        Allowed::Everything => Some("its device rules allow every device (--privileged?)".to_owned()),
        Allowed::Unsaid if has_capability(spec, "CAP_MKNOD") && !own_users => {
            Some("no device rule limits it, and with CAP_MKNOD it can make every node".to_owned())
        }
        Allowed::Unsaid | Allowed::Named => None,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    /// The last rule on all devices allows them.
    Everything,
    /// The last rule on all devices denies them.
    Named,
    /// There is no rule on all devices: it depends on the runtime, or there is no cgroup at all.
    Unsaid,
}

fn allowed_devices(spec: Spec<'_>) -> Allowed {
    spec.array("/linux/resources/devices")
        .filter(|rule| is_on_all(rule))
        .fold(Allowed::Unsaid, |so_far, rule| {
            let access = rule
                .get("access")
                .and_then(Value::as_str)
                .filter(|access| !access.is_empty());
            let covers = |letter: char| access.is_none_or(|access| access.contains(letter));
            match rule.get("allow").and_then(Value::as_bool).unwrap_or(false) {
                // `c *:* m`, which engines give to all, lets a container make nodes, not open them.
                true if covers('r') || covers('w') => Allowed::Everything,
                false if covers('r') && covers('w') => Allowed::Named,
                _ => so_far,
            }
        })
}

fn is_on_all(rule: &Value) -> bool {
    let kind = rule.get("type").and_then(Value::as_str).unwrap_or("a");
    let wild = |key: &str| {
        rule.get(key)
            .and_then(Value::as_i64)
            .is_none_or(|number| number < 0)
    };
    matches!(kind, "a" | "c" | "") && wild("major") && wild("minor")
}

/// In any set: the bounding set too, since a program with file capabilities can gain what stands there.
fn has_capability(spec: Spec<'_>, name: &str) -> bool {
    ["bounding", "effective", "permitted", "inheritable", "ambient"]
        .iter()
        .any(|set| {
            spec.array(&format!("/process/capabilities/{set}"))
                .any(|cap| cap.as_str() == Some(name))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(capabilities: Value, rules: Value, namespaces: Value) -> Value {
        json!({
            "process": {"capabilities": {"bounding": capabilities}},
            "linux": {"resources": {"devices": rules}, "namespaces": namespaces},
        })
    }

    fn deny() -> Value {
        json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "m"}])
    }

    #[test]
    fn an_ordinary_container_can_be_isolated() {
        assert_eq!(
            not_isolated(Spec(&spec(json!(["CAP_MKNOD"]), deny(), json!([])))),
            None
        );
        assert_eq!(
            not_isolated(Spec(&spec(json!(null), json!(null), json!(null)))),
            None
        );
    }

    #[test]
    fn a_privileged_one_cannot() {
        let admin = spec(json!(["CAP_SYS_ADMIN"]), deny(), json!([]));
        assert!(not_isolated(Spec(&admin)).unwrap().contains("CAP_SYS_ADMIN"));
        let in_user_namespace = spec(json!(["CAP_SYS_ADMIN"]), deny(), json!([{"type": "user"}]));
        assert_eq!(not_isolated(Spec(&in_user_namespace)), None);
        let all = spec(
            json!([]),
            json!([{"allow": false, "access": "rwm"}, {"allow": true, "access": "rwm"}]),
            json!([]),
        );
        assert!(not_isolated(Spec(&all)).unwrap().contains("every device"));
        let wild = spec(
            json!([]),
            json!([{"allow": true, "type": "c", "major": -1, "minor": -1, "access": "r"}]),
            json!([]),
        );
        assert!(not_isolated(Spec(&wild)).is_some());
        let half_denied = json!([{"allow": true, "access": "rwm"}, {"allow": false, "access": "r"}]);
        assert!(not_isolated(Spec(&spec(json!([]), half_denied, json!([])))).is_some());
    }

    #[test]
    fn without_rules_mknod_decides() {
        let unsaid = spec(json!(["CAP_MKNOD"]), json!([]), json!([]));
        assert!(not_isolated(Spec(&unsaid)).unwrap().contains("CAP_MKNOD"));
    }
}
