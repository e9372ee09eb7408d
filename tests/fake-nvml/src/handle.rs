//! What an opaque NVML pointer is here: a number that says which thing of which session, never an address.
//!
//! So a wrong or stale handle is seen as such, and nothing that a caller passes is dereferenced.

/// What stands at the top of each handle: no address has it, no small number either.
const MARK: u64 = 0x4e56;

/// `nvmlDevice_t`, `nvmlGpuInstance_t` or `nvmlComputeInstance_t`: pointer-sized, passed by value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u64);

/// What a handle means: positions in the session's lists, not ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A GPU.
    Gpu(usize),
    /// A MIG device: GPU, GPU instance, compute instance.
    Mig(usize, usize, usize),
    /// A GPU instance.
    GpuInstance(usize, usize),
    /// A compute instance.
    ComputeInstance(usize, usize, usize),
}

impl Handle {
    /// The handle of `thing` in the session of that number.
    pub fn new(session: u8, thing: Thing) -> Handle {
        let (kind, gpu, gi, ci) = match thing {
            Thing::Gpu(gpu) => (1, gpu, 0, 0),
            Thing::Mig(gpu, gi, ci) => (2, gpu, gi, ci),
            Thing::GpuInstance(gpu, gi) => (3, gpu, gi, 0),
            Thing::ComputeInstance(gpu, gi, ci) => (4, gpu, gi, ci),
        };
        let byte = |part: usize, at: u32| ((part & 0xff) as u64) << at;
        Handle(
            MARK << 48
                | byte(kind, 40)
                | u64::from(session) << 32
                | byte(gpu, 16)
                | byte(gi, 8)
                | byte(ci, 0),
        )
    }

    /// What it means, if it is of that session.
    pub fn thing(self, session: u8) -> Option<Thing> {
        let byte = |at: u32| (self.0 >> at & 0xff) as usize;
        if self.0 >> 48 != MARK || byte(32) != usize::from(session) {
            return None;
        }
        let (gpu, gi, ci) = (byte(16), byte(8), byte(0));
        match byte(40) {
            1 => Some(Thing::Gpu(gpu)),
            2 => Some(Thing::Mig(gpu, gi, ci)),
            3 => Some(Thing::GpuInstance(gpu, gi)),
            4 => Some(Thing::ComputeInstance(gpu, gi, ci)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_means_one_thing_of_one_session() {
        let things = [
            Thing::Gpu(7),
            Thing::Mig(7, 2, 1),
            Thing::GpuInstance(7, 2),
            Thing::ComputeInstance(7, 2, 1),
        ];
        for thing in things {
            assert_eq!(Handle::new(3, thing).thing(3), Some(thing));
            assert_eq!(Handle::new(3, thing).thing(4), None);
        }
        assert_eq!(Handle(0).thing(0), None);
    }
}
