//! Who takes part: the attempts to make a container, and how they differ. Everything else about them happens.

/// At most so many attempts.
pub const MOST: usize = 3;

/// One attempt to make a container: its engine, hooks, runtime and the container itself, if it comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    /// The container's id. Attempts of one id are runs of one container, or two containers of one name.
    pub id: u8,
    /// The process that makes it: attempts may have it in common.
    pub maker: u8,
    /// When it is served.
    pub door: Door,
    /// It has a cgroup of its own; attempts of one id have the same one.
    pub has_cgroup: bool,
    /// It has a pid namespace of its own: with its first process all others end.
    pub has_pids: bool,
    /// The pid namespace that its engine and its hooks run in.
    pub home: u8,
    /// How many devices it asks for.
    pub wants: u8,
}

/// When a container is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// Before it is made: its config.json names the lease, and it is confirmed.
    Before,
    /// Once it exists, by a plain createRuntime hook.
    Live,
}

/// Who takes part in one run of the model, and what may befall them beside crashes.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// The attempts. Alike ones begin in this order: which of them is the first makes no difference.
    pub roles: [Option<Role>; MOST],
    /// A config.json may come to name other devices than its lease.
    pub tampering: bool,
    /// Lease files may rot.
    pub rot: bool,
    /// The machine may be restarted.
    pub reboot: bool,
}

impl Role {
    /// The plainest: Podman's, of that id.
    pub const fn plain(id: u8, maker: u8) -> Role {
        Role {
            id,
            maker,
            door: Door::Before,
            has_cgroup: true,
            has_pids: false,
            home: 0,
            wants: 1,
        }
    }
}

impl Cast {
    /// Those roles, and all that may befall them.
    pub fn of(roles: &[Role]) -> Cast {
        let mut all = [None; MOST];
        for (place, role) in all.iter_mut().zip(roles) {
            *place = Some(*role);
        }
        Cast {
            roles: all,
            tampering: true,
            rot: true,
            reboot: true,
        }
    }

    /// The role of attempt `who`.
    pub fn role(&self, who: usize) -> Role {
        self.roles[who].unwrap_or(Role::plain(u8::MAX, u8::MAX))
    }

    /// Whether it makes no difference which of two attempts is which: exchanged, each differs from the others as before.
    pub fn are_alike(&self, one: usize, other: usize) -> bool {
        let exchanged = |who: usize| match who {
            _ if who == one => other,
            _ if who == other => one,
            _ => who,
        };
        let same = |a: usize, b: usize| {
            let (a, b) = (self.role(a), self.role(b));
            (a.id == b.id, a.maker == b.maker)
        };
        let named_alike = |who: usize| Role {
            id: 0,
            maker: 0,
            ..self.role(who)
        };
        named_alike(one) == named_alike(other)
            && self.attempts().all(|a| {
                self.attempts()
                    .all(|b| same(a, b) == same(exchanged(a), exchanged(b)))
            })
    }

    /// The attempts.
    pub fn attempts(&self) -> impl Iterator<Item = usize> {
        (0..MOST).filter(|who| self.roles[*who].is_some())
    }
}
