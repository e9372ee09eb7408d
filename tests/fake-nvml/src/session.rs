//! What one `nvmlInit` read. Handles keep answering from it, as NVML's do, whatever becomes of the node meanwhile.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Once, PoisonError, RwLock};

use crate::code::Code;
use crate::live;
use crate::state::{ComputeInstance, GiProfile, Gpu, GpuInstance, State};

/// From the first `nvmlInit` to the last `nvmlShutdown`.
pub struct Session {
    /// Stands in its handles: those of another session are invalid.
    pub number: u8,
    /// The node as it was at init.
    pub state: State,
    /// Whether its init attached the GPUs.
    pub attached: bool,
    touched: Vec<AtomicBool>,
}

struct Open {
    session: Arc<Session>,
    inits: u32,
}

static OPEN: RwLock<Option<Open>> = RwLock::new(None);
static NUMBER: AtomicU8 = AtomicU8::new(0);

/// The session of this process, if NVML is initialised.
pub fn current() -> Option<Arc<Session>> {
    let open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
    open.as_ref().map(|open| open.session.clone())
}

/// What `hang` calls the end of a process that has initialised NVML: the driver may hang there as well.
pub const EXIT: &str = "exit";

extern "C" fn at_exit() {
    let now = live::now();
    if now.hangs(EXIT, None) {
        now.trace(EXIT, None, None);
        live::hang_while_told(EXIT, None);
    }
}

/// Begins a session, or counts one more user of the one there is, whose GPUs stay as attached as they are.
pub fn open(dir: &Path, attached: bool) -> Result<Arc<Session>, Code> {
    let mut open = OPEN.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(open) = open.as_mut() {
        open.inits += 1;
        return Ok(open.session.clone());
    }
    static AT_EXIT: Once = Once::new();
    AT_EXIT.call_once(|| {
        // SAFETY: a function of this library, which stays loaded: whoever unloads it doesn't hang on purpose.
        unsafe { libc::atexit(at_exit) };
    });
    let state = State::load(dir).map_err(|error| unreadable(dir, &error))?;
    let session = Arc::new(Session {
        number: NUMBER.fetch_add(1, Ordering::Relaxed),
        touched: state.gpus.iter().map(|_| AtomicBool::new(false)).collect(),
        state,
        attached,
    });
    *open = Some(Open {
        session: session.clone(),
        inits: 1,
    });
    Ok(session)
}

/// Ends the session when its last user goes.
pub fn close() -> Result<(), Code> {
    let mut open = OPEN.write().unwrap_or_else(PoisonError::into_inner);
    let users = open.as_mut().ok_or(Code::UNINITIALIZED)?;
    users.inits -= 1;
    if users.inits == 0 {
        *open = None;
    }
    Ok(())
}

/// A node that is gone is a driver that isn't loaded; a broken file is a bug, said aloud.
fn unreadable(dir: &Path, error: &io::Error) -> Code {
    if error.kind() == io::ErrorKind::NotFound {
        return Code::DRIVER_NOT_LOADED;
    }
    eprintln!("fake-nvml: {}: {error}", dir.join(crate::state::FILE).display());
    Code::UNKNOWN
}

impl Session {
    /// Whether this call is the first of the session that needs that GPU.
    pub fn touch(&self, gpu: u32) -> bool {
        let touched = self.touched.get(gpu as usize);
        touched.is_some_and(|touched| !touched.swap(true, Ordering::Relaxed))
    }
}

impl Gpu {
    /// A MIG device's place by its index; indexes may have holes.
    pub fn mig_at(&self, index: u32) -> Option<(usize, usize)> {
        self.find_mig(|_, ci| ci.index == index)
    }

    /// The first MIG device that `wanted` accepts, as positions in the lists.
    pub fn find_mig(
        &self,
        wanted: impl Fn(&GpuInstance, &ComputeInstance) -> bool,
    ) -> Option<(usize, usize)> {
        self.instances.iter().enumerate().find_map(|(at, gi)| {
            let ci = gi.compute.iter().position(|ci| wanted(gi, ci))?;
            Some((at, ci))
        })
    }

    /// How many more instances of `profile` fit beside those that exist.
    pub fn remaining(&self, profile: &GiProfile, table: &[GiProfile]) -> u32 {
        let taken = |start: u32| {
            self.instances.iter().any(|gi| {
                let size = table
                    .iter()
                    .find(|row| row.id == gi.profile)
                    .map_or(0, |row| row.size);
                gi.start < start + profile.size && start < gi.start + size
            })
        };
        let free = profile.starts.iter().filter(|start| !taken(**start)).count() as u32;
        let same = self
            .instances
            .iter()
            .filter(|gi| gi.profile == profile.id)
            .count() as u32;
        free.min(profile.max.saturating_sub(same))
    }
}
