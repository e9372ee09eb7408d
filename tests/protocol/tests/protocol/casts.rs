//! Who takes part in the tests' runs.

use protocol::cast::{Cast, Door, Role};

const PLAIN: Role = Role::plain(0, 0);

/// Whose containers two attempts are: the second one's id and maker, and in how much the two may depart from the plainest.
const PAIRS: [(Role, usize); 4] = [
    // Two containers, two engines.
    (Role::plain(1, 1), 2),
    // Two runs of one container, or two of one name.
    (Role::plain(0, 1), 2),
    // Two containers, one engine.
    (Role::plain(1, 0), 1),
    // Two tries of one engine at one container.
    (Role::plain(0, 0), 1),
];

/// Two of one container, and a third of another.
pub fn three() -> Cast {
    Cast::of(&[PLAIN, Role::plain(0, 1), Role::plain(1, 2)])
}

/// Two attempts that depart from the plainest in little, the plainest first, and everything that may befall them.
pub fn pairs() -> Vec<Cast> {
    let depart = |(one, other, _): &(Role, Role, usize)| departures(one) + departures(other);
    let mut few: Vec<_> = all().filter(|pair| depart(pair) <= pair.2).collect();
    few.sort_by_key(depart);
    few.into_iter().map(cast).collect()
}

/// Any two attempts.
pub fn all_pairs() -> Vec<Cast> {
    all().map(cast).collect()
}

fn cast((one, other, _): (Role, Role, usize)) -> Cast {
    Cast::of(&[one, other])
}

fn all() -> impl Iterator<Item = (Role, Role, usize)> {
    PAIRS.into_iter().flat_map(|(second, most)| {
        let firsts = kinds(PLAIN)
            .into_iter()
            .flat_map(|one| [1, 2].map(|wants| Role { wants, ..one }));
        firsts.flat_map(move |one| {
            let others = kinds(second)
                .into_iter()
                .flat_map(|other| [0, 1].map(|home| Role { home, ..other }));
            others.map(move |other| (one, other, most)).collect::<Vec<_>>()
        })
    })
}

/// With a cgroup of its own, a pid namespace of its own, or both; served before or live. One with neither is served only
/// where the administrator trusts it, and nobody can see what it leaves behind.
fn kinds(role: Role) -> Vec<Role> {
    let doors = [Door::Before, Door::Live].into_iter();
    let isolations = [(true, false), (false, true), (true, true)];
    let kind = |door: Door| {
        isolations.map(|(has_cgroup, has_pids)| Role {
            door,
            has_cgroup,
            has_pids,
            ..role
        })
    };
    doors.flat_map(kind).collect()
}

fn departures(role: &Role) -> usize {
    let departs = [
        role.door == Door::Live,
        !role.has_cgroup || role.has_pids,
        role.home != 0,
    ];
    // Who asks for more meets the others less.
    let asks_more = usize::from(role.wants - 1) * 2;
    asks_more + departs.into_iter().filter(|departs| *departs).count()
}
