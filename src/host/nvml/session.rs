//! NVML from its init on, always a fresh one: handles of an older one would keep answering for instances that are gone.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::ffi::OsStr;
use std::mem::ManuallyDrop;

use nvml_wrapper::bitmasks::InitFlags;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::trouble::{self, Reason};
use crate::failure::Failure;

/// Hears of every call of NVML before it is made.
pub trait Reporter {
    /// NVML's function `call` is about to be asked, about that GPU (its NVML index).
    fn asking(&self, gpu: Option<u32>, call: &'static str);
}

/// What init does with the GPUs that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// Nothing: each is attached when it is asked for. On a node without persistence mode each would take seconds, and
    /// one that hangs would be nobody's.
    OnDemand,
    /// Attaches them all. No document promises that every driver goes on from an init that attached none.
    All,
}

/// A GPU's MIG mode, now and after the next reset. One that is about to change is an error: what the GPU will be can't be
/// handed out yet, and what it is not for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigState {
    /// The GPU can't do MIG.
    Unsupported,
    /// It is not in MIG mode.
    Off,
    /// It is in MIG mode.
    On,
}

/// NVML, initialised. Shut down only to make way for another: this process ends with its answer, and shutting down would
/// be one more call that can hang.
pub struct Session<'a> {
    /// The library.
    pub nvml: ManuallyDrop<Nvml>,
    /// The driver's version: `550.54.15`.
    pub driver: String,
    attach: Attach,
    doubt: Cell<bool>,
    reporter: &'a dyn Reporter,
}

impl<'a> Session<'a> {
    /// Initialises the NVML in `library`.
    ///
    /// # Errors
    /// A host failure where NVML as a whole can't be used.
    pub fn open(library: &OsStr, attach: Attach, reporter: &'a dyn Reporter) -> Result<Session<'a>, Failure> {
        // A node without GPUs is for us to explain, not NVML's error.
        let flags = match attach {
            Attach::OnDemand => InitFlags::NO_GPUS | InitFlags::NO_ATTACH,
            Attach::All => InitFlags::NO_GPUS,
        };
        reporter.asking(None, "nvmlInit");
        let nvml = Nvml::builder().lib_path(library).flags(flags).init();
        let nvml = ManuallyDrop::new(nvml.map_err(|error| trouble::unusable(library, "nvmlInit", &error))?);
        let call = "nvmlSystemGetDriverVersion";
        reporter.asking(None, call);
        let driver = nvml.sys_driver_version();
        Ok(Session {
            driver: driver.map_err(|error| trouble::unusable(library, call, &error))?,
            nvml,
            attach,
            doubt: Cell::new(false),
            reporter,
        })
    }

    /// Whether a GPU had no answer that one might have had which init attached.
    pub fn is_in_doubt(&self) -> bool {
        self.attach == Attach::OnDemand && self.doubt.get()
    }

    /// Ends it, so that another can be opened.
    pub fn shut_down(self) {
        self.reporter.asking(None, "nvmlShutdown");
        drop(ManuallyDrop::into_inner(self.nvml));
    }

    /// Makes a call about the GPU of that index.
    pub fn ask<T>(
        &self,
        gpu: u32,
        call: &'static str,
        asked: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Result<T, Reason> {
        self.ask_plainly(gpu, call, asked)
            .map_err(|error| trouble::of_gpu(&error))
    }

    /// The same, with NVML's own error.
    pub fn ask_plainly<T>(
        &self,
        gpu: u32,
        call: &'static str,
        asked: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Result<T, NvmlError> {
        self.reporter.asking(Some(gpu), call);
        let answer = asked();
        if answer.as_ref().err().is_some_and(trouble::may_be_inits) {
            self.doubt.set(true);
        }
        answer
    }

    /// The GPU of that index. By index alone: a search by UUID or bus id may wake others on its way.
    pub fn gpu(&self, index: u32) -> Result<Device<'_>, Reason> {
        self.ask(index, "nvmlDeviceGetHandleByIndex", || {
            self.nvml.device_by_index(index)
        })
    }

    /// Whether MIG is on, now and later.
    pub fn mig_state(&self, index: u32, gpu: &Device) -> Result<MigState, Reason> {
        let mode = self.ask_plainly(index, "nvmlDeviceGetMigMode", || gpu.mig_mode());
        match mode {
            Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => Ok(MigState::Unsupported),
            Err(error) => Err(trouble::of_gpu(&error)),
            Ok(mode) if mode.current != mode.pending => Err(trouble::pending(mode.current == 1)),
            Ok(mode) if mode.current == 1 => Ok(MigState::On),
            Ok(_) => Ok(MigState::Off),
        }
    }
}
