//! One condition: a property, an operator and a value.

use std::cmp::Ordering;
use std::fmt;

use super::Facts;
use crate::mig::Version;

/// What a condition is about, and the value that it is held against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Property {
    Cuda(Version),
    Driver(Version),
    Arch(Version),
    Brand(String),
}

/// How it is held against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `cuda>=12.4`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    property: Property,
    operator: Operator,
}

/// The characters that operators consist of.
const OPERATOR: [char; 4] = ['<', '>', '=', '!'];

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// Which one it is, and what would be right.
    pub fn parse(text: &str) -> Result<Condition, String> {
        let bad = |why: &str| format!("'{}': {why}", shortened(text));
        let at = text.find(OPERATOR).ok_or_else(|| {
            bad("a condition is a property (cuda, driver, arch, brand), one of = != < <= > >=, and a value")
        })?;
        let (name, rest) = text.split_at(at);
        let (operator, value) = rest.split_at(rest.find(|c| !OPERATOR.contains(&c)).unwrap_or(rest.len()));
        let operator = Operator::parse(operator).ok_or_else(|| bad("the operators are = != < <= > >="))?;
        let version = || {
            value
                .parse::<Version>()
                .map_err(|_| bad("its value is no version like 12.4"))
        };
        let property = match name.to_ascii_lowercase().as_str() {
            "cuda" => Property::Cuda(version()?),
            "driver" => Property::Driver(version()?),
            "arch" => Property::Arch(version()?),
            "brand" if value.is_empty() => return Err(bad("its value is missing")),
            "brand" if !matches!(operator, Operator::Equal | Operator::NotEqual) => {
                return Err(bad("a brand has no order: use = or !="));
            }
            "brand" => Property::Brand(value.to_ascii_lowercase()),
            _ => return Err(bad("the properties are cuda, driver, arch and brand")),
        };
        Ok(Condition { property, operator })
    }

    /// Whether it holds. What isn't known is taken to be as it should be.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let version = |wanted: &Version, found: Option<&Version>| {
            found.is_none_or(|found| self.operator.holds(found.cmp(wanted)))
        };
        match &self.property {
            Property::Cuda(wanted) => version(wanted, facts.cuda),
            Property::Driver(wanted) => version(wanted, facts.driver),
            Property::Arch(wanted) => version(wanted, facts.arch),
            Property::Brand(wanted) => facts
                .brand
                .is_none_or(|found| found.eq_ignore_ascii_case(wanted) == (self.operator == Operator::Equal)),
        }
    }

    /// What is found here of what it is about, as people are told.
    pub fn found(&self, facts: &Facts<'_>) -> String {
        let version = |found: Option<&Version>| found.map(Version::to_string);
        let found = match &self.property {
            Property::Cuda(_) => version(facts.cuda),
            Property::Driver(_) => version(facts.driver),
            Property::Arch(_) => version(facts.arch),
            Property::Brand(_) => facts.brand.map(str::to_owned),
        };
        found.unwrap_or_default()
    }

    /// The name of what it is about.
    pub fn property(&self) -> &'static str {
        match self.property {
            Property::Cuda(_) => "cuda",
            Property::Driver(_) => "driver",
            Property::Arch(_) => "arch",
            Property::Brand(_) => "brand",
        }
    }

    /// Whether that is the GPU's, and not the machine's.
    pub fn is_of_gpu(&self) -> bool {
        matches!(self.property, Property::Arch(_) | Property::Brand(_))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, operator) = (self.property(), self.operator.as_str());
        match &self.property {
            Property::Cuda(value) | Property::Driver(value) | Property::Arch(value) => {
                write!(f, "{name}{operator}{value}")
            }
            Property::Brand(value) => write!(f, "{name}{operator}{}", shortened(value)),
        }
    }
}

impl Operator {
    const ALL: [Operator; 6] = [
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
    ];

    fn parse(text: &str) -> Option<Operator> {
        Operator::ALL
            .into_iter()
            .find(|operator| operator.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
        }
    }

    /// Whether it holds of something that compares so with the value.
    fn holds(self, found: Ordering) -> bool {
        match self {
            Operator::Equal => found.is_eq(),
            Operator::NotEqual => found.is_ne(),
            Operator::Less => found.is_lt(),
            Operator::LessOrEqual => found.is_le(),
            Operator::Greater => found.is_gt(),
            Operator::GreaterOrEqual => found.is_ge(),
        }
    }
}

/// So much of a text as a line has room for.
fn shortened(text: &str) -> String {
    const ROOM: usize = 80;
    match text.char_indices().nth(ROOM) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}
