//! The question whether certain devices are what they were. Each is reached by its GPU's index and its instances' ids, so
//! that no other GPU is touched, and the number of calls grows neither with the node nor with the GPU.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt::Display;

use nvml_wrapper::Device;

use super::device::Partitioned;
use super::session::{Attach, MigState, Reporter, Session};
use super::trouble::Reason;
use super::{Certain, users, whole};
use crate::failure::Failure;
use crate::mig::{Checked, Gpu, MigDevice, MigMode, PciBusId, Placement};

/// Holds what NVML in `library` says of certain devices against what is known of them: one answer for each, in their
/// order.
///
/// # Errors
/// A host failure where NVML as a whole can't be used.
pub fn check(library: &OsStr, asked: &Certain, reporter: &dyn Reporter) -> Result<Vec<Checked>, Failure> {
    let session = Session::open(library, Attach::OnDemand, reporter)?;
    let checked = all(&session, asked);
    if !session.is_in_doubt() || asked.on_demand_alone {
        return Ok(checked.into_iter().map(settled).collect());
    }
    // As in a walk. No other GPU is touched but in that case.
    session.shut_down();
    let session = Session::open(library, Attach::All, reporter)?;
    Ok(all(&session, asked).into_iter().map(settled).collect())
}

/// What NVML can't tell is as good as a difference: whoever reads all anew will learn why.
fn settled(checked: Result<Checked, Reason>) -> Checked {
    checked.unwrap_or_else(Checked::Differs)
}

fn all(session: &Session<'_>, asked: &Certain) -> Vec<Result<Checked, Reason>> {
    let known = &asked.known;
    if session.driver != known.driver {
        let differs = format!("the driver is {} now, and was {}", session.driver, known.driver);
        return known
            .devices()
            .map(|_| Ok(Checked::Differs(differs.clone())))
            .collect();
    }
    let of_gpu = |gpu: &Gpu| match same_gpu(session, gpu) {
        Ok(handle) => of_devices(session, gpu, &handle, asked.users),
        Err(trouble) => gpu.offers().map(|_| trouble.clone().answer(gpu)).collect(),
    };
    known.gpus.iter().flat_map(of_gpu).collect()
}

/// Why a GPU's devices can't be what they were.
#[derive(Clone)]
enum Trouble {
    /// It is another, or cut otherwise.
    Differs(String),
    /// It doesn't answer.
    Unanswered(Reason),
}

impl From<Reason> for Trouble {
    fn from(reason: Reason) -> Trouble {
        Trouble::Unanswered(reason)
    }
}

impl Trouble {
    fn answer(self, gpu: &Gpu) -> Result<Checked, Reason> {
        let of_gpu = |what: String| format!("GPU {}: {what}", gpu.index);
        match self {
            Trouble::Differs(what) => Ok(Checked::Differs(of_gpu(what))),
            Trouble::Unanswered(reason) => Err(of_gpu(reason)),
        }
    }
}

/// The GPU at `known`'s index, if it is that one and in the same MIG mode.
fn same_gpu<'a>(session: &'a Session<'_>, known: &Gpu) -> Result<Device<'a>, Trouble> {
    let index = known.index;
    let gpu = session.gpu(index)?;
    let uuid = session.ask(index, "nvmlDeviceGetUUID", || gpu.uuid())?;
    let minor = session.ask(index, "nvmlDeviceGetMinorNumber", || gpu.minor_number())?;
    let pci = session.ask(index, "nvmlDeviceGetPciInfo", || gpu.pci_info())?;
    same("its UUID", &known.uuid.to_string(), &uuid)?;
    same("its minor", &known.minor.0, &minor)?;
    let pci = pci.bus_id.parse::<PciBusId>();
    same("its bus id", &known.pci, &pci.map_err(|error| error.to_string())?)?;
    same_mode(session, known, &gpu)?;
    Ok(gpu)
}

/// One that was whole is to have the memory that it had, too: nothing else of it can change.
fn same_mode(session: &Session<'_>, known: &Gpu, gpu: &Device) -> Result<(), Trouble> {
    let differs = |what: &str| Err(Trouble::Differs(what.to_owned()));
    let state = session.mig_state(known.index, gpu)?;
    match (&known.mig, state) {
        (MigMode::Enabled { .. }, MigState::On) => Ok(()),
        (MigMode::Enabled { .. }, _) => differs("MIG mode is off now"),
        (_, MigState::On) => differs("MIG mode is on now"),
        (whole, _) => match whole::of(session, known.index, gpu, state)?.as_ref() == Some(whole) {
            true => Ok(()),
            false => differs("its memory is not what it was"),
        },
    }
}

fn of_devices(
    session: &Session<'_>,
    gpu: &Gpu,
    handle: &Device,
    users: bool,
) -> Vec<Result<Checked, Reason>> {
    if gpu.whole().is_some() {
        return vec![of_whole(session, gpu, handle, users)];
    }
    let partitioned = Partitioned {
        session,
        index: gpu.index,
        gpu: handle,
        profiles: gpu.profiles(),
    };
    let of_device = |known| match same_device(&partitioned, known) {
        Ok(handle) if users => in_use(session, gpu, &handle),
        Ok(_) => Ok(Checked::AsKnown),
        Err(trouble) => trouble.answer(gpu),
    };
    gpu.devices().iter().map(of_device).collect()
}

/// A GPU that was found to be what it was.
fn of_whole(session: &Session<'_>, gpu: &Gpu, handle: &Device, users: bool) -> Result<Checked, Reason> {
    match users {
        true => in_use(session, gpu, handle),
        false => Ok(Checked::AsKnown),
    }
}

fn in_use(session: &Session<'_>, gpu: &Gpu, device: &Device) -> Result<Checked, Reason> {
    match users::of(session, gpu.index, device) {
        Ok(users) if users.is_empty() => Ok(Checked::AsKnown),
        Ok(users) => Ok(Checked::InUse(users)),
        Err(reason) => Trouble::Unanswered(reason).answer(gpu),
    }
}

/// Neither its ids nor its UUID say what a device is: after a repartition they may be another's.
fn same_device<'a>(gpu: &'a Partitioned<'_>, known: &MigDevice) -> Result<Device<'a>, Trouble> {
    let Some((handle, found)) = gpu.of_ids(known.gi, known.ci)? else {
        return Err(Trouble::Differs(format!("{} is gone", known.uuid)));
    };
    let its = |what: &str| {
        format!(
            "{what} of GPU instance {}, compute instance {}",
            known.gi.0, known.ci.0
        )
    };
    same(&its("the UUID"), &known.uuid, &found.uuid)?;
    let its = |what: &str| format!("{what} of {}", known.uuid);
    same(&its("the profile"), &known.profile, &found.profile)?;
    same(
        &its("the place"),
        &Shown(known.placement),
        &Shown(found.placement),
    )?;
    match *known == found {
        true => Ok(handle),
        false => Err(Trouble::Differs(format!("{} differs", its("the share")))),
    }
}

fn same<T: PartialEq + Display>(what: &str, known: &T, found: &T) -> Result<(), Trouble> {
    match known == found {
        true => Ok(()),
        false => Err(Trouble::Differs(format!(
            "{what} is {found} now, and was {known}"
        ))),
    }
}

/// A placement as nvidia-smi writes it.
#[derive(PartialEq)]
struct Shown(Placement);

impl Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0.start, self.0.size)
    }
}
