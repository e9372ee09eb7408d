//! What every exported function has in common: the session, told faults, the trace, delays, and no panic that
//! crosses into C.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::code::Code;
use crate::handle::{Handle, Thing};
use crate::live::Now;
use crate::session::{self, Session};
use crate::state::{ComputeInstance, GiProfile, Gpu, GpuInstance, MigMode, Process};
use crate::{live, place};

/// `NVML_INIT_FLAG_NO_ATTACH`
const NO_ATTACH: u32 = 2;

/// One call while it runs.
pub struct Call {
    name: &'static str,
    session: Option<Arc<Session>>,
    now: Arc<Now>,
    gpu: Option<u32>,
    delay: Duration,
}

/// A GPU instance that a handle means, with all that it stands in.
pub struct Gi<'a> {
    /// Position of its GPU, which is the NVML index, and its own on that GPU.
    pub at: (usize, usize),
    /// Its GPU.
    pub gpu: &'a Gpu,
    /// Itself.
    pub instance: &'a GpuInstance,
    /// Its profile.
    pub profile: &'a GiProfile,
}

/// A compute instance that a handle means: a MIG device.
pub struct Ci<'a> {
    /// Its GPU instance.
    pub gi: Gi<'a>,
    /// Position in it.
    pub at: usize,
    /// Itself.
    pub instance: &'a ComputeInstance,
}

/// Runs an exported function. The answer is computed, then traced, and only then does the caller wait for it, so
/// that a call which never comes back has its line all the same.
pub fn enter(name: &'static str, body: impl FnOnce(&mut Call) -> Result<(), Code>) -> u32 {
    let mut call = Call {
        name,
        session: session::current(),
        now: live::now(),
        gpu: None,
        delay: Duration::ZERO,
    };
    let run = AssertUnwindSafe(|| {
        call.refuse_if_told()?;
        body(&mut call)
    });
    let code = match catch_unwind(run).unwrap_or(Err(Code::UNKNOWN)) {
        Ok(()) => Code::SUCCESS,
        Err(code) => code,
    };
    if call.now.hangs(name, call.gpu) {
        call.now.trace(name, call.gpu, None);
        live::hang_while_told(name, call.gpu);
    } else {
        call.now.trace(name, call.gpu, Some(code.0));
    }
    if !call.delay.is_zero() {
        thread::sleep(call.delay);
    }
    code.0
}

impl Call {
    /// `nvmlInit`, whichever of its names. Attaches every GPU that answers, unless told not to.
    pub fn init(&mut self, flags: u32) -> Result<(), Code> {
        self.delay = Duration::from_millis(self.now.live.faults.init_ms);
        let attach = flags & NO_ATTACH == 0;
        let session = session::open(place::dir(), attach)?;
        if attach {
            let lost = &self.now.live.faults.lost;
            let gpus = 0..session.state.gpus.len() as u32;
            for _ in gpus.filter(|gpu| !lost.contains(gpu) && session.touch(*gpu)) {
                self.delay += Duration::from_millis(self.now.live.faults.first_touch_ms);
            }
        }
        Ok(())
    }

    /// The session, or the error that there is none.
    pub fn session(&self) -> Result<Arc<Session>, Code> {
        self.session.clone().ok_or(Code::UNINITIALIZED)
    }

    /// The processes of this moment.
    pub fn processes(&self) -> &[Process] {
        &self.now.live.processes
    }

    /// A search for a GPU that ends at `gpu`: it wakes those before it.
    pub fn search(&mut self, gpu: usize) -> Result<(), Code> {
        let session = self.session()?;
        let lost = &self.now.live.faults.lost;
        let passed = (0..gpu as u32).filter(|gpu| !lost.contains(gpu) && session.touch(*gpu));
        self.delay += passed.count() as u32 * Duration::from_millis(self.now.live.faults.first_touch_ms);
        self.touch(gpu)
    }

    /// Notes that this call needs a GPU: it is in the trace, may be cold, lost, or told to fail.
    pub fn touch(&mut self, gpu: usize) -> Result<(), Code> {
        let index = gpu as u32;
        self.gpu = Some(index);
        if self.now.live.faults.lost.contains(&index) {
            return Err(Code::GPU_IS_LOST);
        }
        let session = self.session()?;
        if !session.attached && self.now.live.faults.needs_attach {
            return Err(Code::UNINITIALIZED);
        }
        if session.touch(index) {
            self.delay += Duration::from_millis(self.now.live.faults.first_touch_ms);
        }
        self.refuse_if_told()
    }

    fn refuse_if_told(&self) -> Result<(), Code> {
        let mut told = self.now.live.faults.fail.iter();
        match told.find(|fail| fail.target.meets(self.name, self.gpu)) {
            Some(fail) => Err(Code(fail.code)),
            None => Ok(()),
        }
    }

    /// What a handle means; a GPU is touched by it.
    pub fn thing(&mut self, session: &Session, handle: Handle) -> Result<Thing, Code> {
        let thing = handle.thing(session.number).ok_or(Code::INVALID_ARGUMENT)?;
        let (Thing::Gpu(gpu)
        | Thing::Mig(gpu, ..)
        | Thing::GpuInstance(gpu, _)
        | Thing::ComputeInstance(gpu, ..)) = thing;
        if gpu >= session.state.gpus.len() {
            return Err(Code::INVALID_ARGUMENT);
        }
        self.touch(gpu)?;
        Ok(thing)
    }

    /// A GPU's handle, and no MIG device's.
    pub fn gpu<'a>(&mut self, session: &'a Session, handle: Handle) -> Result<(usize, &'a Gpu), Code> {
        match self.thing(session, handle)? {
            Thing::Gpu(gpu) => Ok((gpu, &session.state.gpus[gpu])),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    /// The handle of a GPU whose MIG mode is on, with its profiles: what GPU instance calls want.
    pub fn partitioned<'a>(
        &mut self,
        session: &'a Session,
        handle: Handle,
    ) -> Result<(usize, &'a Gpu, &'a [GiProfile]), Code> {
        let (at, gpu) = self.gpu(session, handle)?;
        match gpu.mig {
            MigMode::Enabled => Ok((at, gpu, &session.state.tables[gpu.table])),
            _ => Err(Code::NOT_SUPPORTED),
        }
    }

    /// A MIG device's handle, and no GPU's.
    pub fn mig<'a>(&mut self, session: &'a Session, handle: Handle) -> Result<Ci<'a>, Code> {
        match self.thing(session, handle)? {
            Thing::Mig(gpu, gi, ci) => compute_instance(session, gpu, gi, ci),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    /// A GPU instance's handle.
    pub fn gpu_instance<'a>(&mut self, session: &'a Session, handle: Handle) -> Result<Gi<'a>, Code> {
        match self.thing(session, handle)? {
            Thing::GpuInstance(gpu, gi) => gpu_instance(session, gpu, gi),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    /// A compute instance's handle.
    pub fn compute_instance<'a>(&mut self, session: &'a Session, handle: Handle) -> Result<Ci<'a>, Code> {
        match self.thing(session, handle)? {
            Thing::ComputeInstance(gpu, gi, ci) => compute_instance(session, gpu, gi, ci),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }
}

/// Where a GPU instance stands in the session.
fn gpu_instance(session: &Session, gpu_at: usize, at: usize) -> Result<Gi<'_>, Code> {
    let gpu = session.state.gpus.get(gpu_at).ok_or(Code::INVALID_ARGUMENT)?;
    let instance = gpu.instances.get(at).ok_or(Code::INVALID_ARGUMENT)?;
    let mut table = session.state.tables[gpu.table].iter();
    let profile = table
        .find(|row| row.id == instance.profile)
        .ok_or(Code::UNKNOWN)?;
    Ok(Gi {
        at: (gpu_at, at),
        gpu,
        instance,
        profile,
    })
}

/// Where a compute instance, or the MIG device that it is, stands in the session.
pub fn compute_instance(session: &Session, gpu: usize, gi: usize, at: usize) -> Result<Ci<'_>, Code> {
    let gi = gpu_instance(session, gpu, gi)?;
    let instance = gi.instance.compute.get(at).ok_or(Code::INVALID_ARGUMENT)?;
    Ok(Ci { gi, at, instance })
}

/// Whether this process may see and change GPU instances: root, or who can open the config capability.
pub fn may_configure() -> Result<(), Code> {
    let config = place::dir().join("dev/nvidia-caps/nvidia-cap1");
    let root = rustix::process::geteuid().is_root();
    if root || accessat(CWD, config, Access::READ_OK, AtFlags::EACCESS).is_ok() {
        Ok(())
    } else {
        Err(Code::NO_PERMISSION)
    }
}
