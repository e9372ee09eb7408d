//! One device rule, or device, of a config.json: what its members say to every runtime.

use serde_json::Value;

/// A major or minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Every one: it is absent, or -1.
    All,
    /// This one.
    One(u32),
    /// No such number can be; crun on cgroup v2 cuts it down to one that can, and others refuse it.
    Odd,
}

/// The number of that name.
pub fn number(of: &Value, key: &str) -> Number {
    match of.get(key) {
        None | Some(Value::Null) => Number::All,
        Some(value) if value.as_i64() == Some(-1) => Number::All,
        Some(value) => match value.as_u64().map(u32::try_from) {
            Some(Ok(number)) => Number::One(number),
            _ => Number::Odd,
        },
    }
}

/// Whether it allows.
pub fn allows(rule: &Value) -> bool {
    rule.get("allow").and_then(Value::as_bool).unwrap_or(false)
}

/// The letters of what it is about; none where it is about every access.
pub fn access(rule: &Value) -> Option<&str> {
    rule.get("access")
        .and_then(Value::as_str)
        .filter(|access| !access.is_empty())
}

/// Whether it is on devices of every kind.
pub fn is_all_types(rule: &Value) -> bool {
    matches!(rule.get("type").and_then(Value::as_str), None | Some("" | "a"))
}

/// Whether it is on every character device, by its numbers. What allows by a number that can't be may allow any; what
/// denies by one may deny none.
pub fn is_on_all(rule: &Value) -> bool {
    let wild = |key: &str| match number(rule, key) {
        Number::All => true,
        Number::Odd => allows(rule),
        Number::One(_) => false,
    };
    let has_them = is_all_types(rule) || rule.get("type").and_then(Value::as_str) == Some("c");
    has_them && wild("major") && wild("minor")
}
