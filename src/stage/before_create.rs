//! A container that is yet to be made: what it asks for is reserved, and written into its config.json. Both doors of that
//! moment do this, Podman's precreate and the interposed runtime; they differ in who makes the container, and in how
//! the document goes back.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    DriverFiles, Voice, forged, host, refuse_other_devices, refuse_rootless, refuse_unless_isolated,
    reserver, toolkit_after_us, undo,
};
use crate::config::{Config, DEFAULT_PATH};
use crate::edits::{ContainerEdits, device, guard, spec};
use crate::failure::Failure;
use crate::host::number_at;
use crate::lease::liveness::Here;
use crate::lease::{Container, Lease, LeaseId, LeaseState, LeasedDevice, Ledger};
use crate::oci::{self, Spec};
use crate::request::{Request, keys};
use crate::require::Requirements;
use crate::reserve::{self, Asker};

/// What a container that is yet to be made is served with.
pub struct Making<'a> {
    /// What the program goes by.
    pub config: &'a Config,
    /// The program that the container's hooks are to name: `oci-mig-hook`, wherever it is.
    pub hook: &'a Path,
    /// The folder that config.json counts from, where it is known.
    pub bundle: Option<&'a Path>,
    /// The runtime that gets the config next, where it is known.
    pub runtime: Option<&'a Path>,
    /// Where it is said that a container waits.
    pub voice: Voice<'a>,
}

impl Making<'_> {
    /// Reserves what `request` asks for and writes it into `spec`; without a request, only takes our own edits of an
    /// earlier time out.
    ///
    /// `container` says who makes it. `deliver` hands the document on: the edited one, or none where it is to stay as
    /// it came. Where that fails, nothing stays reserved.
    ///
    /// # Errors
    /// A refusal, or a host failure.
    pub fn serve<Delivered>(
        &self,
        mut spec: Value,
        request: Option<Request>,
        container: impl FnOnce(&Here, Spec<'_>) -> Result<Container, Failure>,
        deliver: impl FnOnce(Option<&Value>) -> Result<Delivered, Failure>,
    ) -> Result<Delivered, Failure> {
        refuse_rootless()?;
        let earlier = Earlier::find(&spec, self.hook)?;
        if let Some(earlier) = &earlier {
            earlier.has_no_other_ledger(self.config)?;
        }
        let Some(request) = request else {
            let had_any = earlier.is_some();
            take_out(earlier, &mut spec);
            return deliver(had_any.then_some(&spec));
        };
        let request = request.requiring(Requirements::of_environment(Spec(&spec).environment())?);
        refuse_unless_isolated(self.config, oci::not_isolated(Spec(&spec)))?;
        let ledger = Ledger::open(&self.config.ledger_dir)?;
        let toolkit = toolkit_after_us(Spec(&spec), self.runtime);
        let files = DriverFiles::of(self.config, Spec(&spec), toolkit.as_deref(), self.voice)?;
        let here = Here::look()?;
        let asker = Asker {
            container: container(&here, Spec(&spec))?,
            state: LeaseState::Pending,
            request,
        };
        let (lease, edited) = self.reserve(&ledger, &here, asker, earlier, &mut spec)?;
        refuse_other_devices(self.config, Spec(&spec), &lease, files.leave_nodes())
            .and_then(|()| match edited {
                true => self.edit(&mut spec, &lease, &files),
                false => Ok(()),
            })
            .and_then(|()| deliver(edited.then_some(&spec)))
            .map_err(|failure| undo(&ledger, &lease, failure))
    }

    /// The lease that the container is to have, and whether `spec` is still to be edited for it: it may have been reserved
    /// before, by this door or the other one.
    fn reserve(
        &self,
        ledger: &Ledger,
        here: &Here,
        asker: Asker,
        earlier: Option<Earlier>,
        spec: &mut Value,
    ) -> Result<(Lease, bool), Failure> {
        if let Some(earlier) = &earlier {
            if let Some(lease) = earlier.renewed(ledger, here, &asker)? {
                return Ok((lease, false));
            }
        }
        take_out(earlier, spec);
        let lease = reserver(self.config, &host(self.config), ledger, here, self.voice).reserve(asker)?;
        Ok((lease, true))
    }

    fn edit(&self, spec: &mut Value, lease: &Lease, files: &DriverFiles) -> Result<(), Failure> {
        let nodes = |device| match files.leave_nodes() {
            true => &[],
            false => LeasedDevice::nodes(device),
        };
        let devices = lease.devices.iter().map(|device| (device.name(), nodes(device)));
        let named_file = self.config.named_file.as_deref();
        let edits = ContainerEdits {
            deny_others: is_to_be_limited(Spec(spec)).then(|| guard::given(Spec(spec), &number_at)),
            ..device::for_devices(devices)
        };
        let edits = edits.and(files.edits(self.rootfs(Spec(spec)).as_deref(), self.voice));
        let mut edits = device::with_hooks(edits, self.hook, named_file);
        edits
            .annotations
            .push((keys::LEASE.to_owned(), lease.id.to_string()));
        let user_namespace = Spec(spec).user_namespace();
        spec::write(spec, &edits, user_namespace)
    }

    /// Where its root file system is, if that can be told: from the bundle, or by itself.
    fn rootfs(&self, spec: Spec<'_>) -> Option<PathBuf> {
        let path = spec.rootfs(self.bundle.unwrap_or(Path::new("")))?;
        (path.is_absolute() || self.bundle.is_some()).then_some(path)
    }
}

/// Whether nothing but us limits its devices. One that can't be isolated is trusted by now, and keeps what it has.
fn is_to_be_limited(spec: Spec<'_>) -> bool {
    oci::says_nothing_of_all(spec) && oci::not_isolated(spec).is_none()
}

/// Whether a config.json needs to be looked into. A search that every container pays for. An engine that escaped the
/// letters of `mig.` would show it by `\u00`.
pub fn may_concern_us(document: &[u8]) -> bool {
    let has = |needle: &str| memchr::memmem::find(document, needle.as_bytes()).is_some();
    has("mig.") || has("\\u006") || has("\\u002e") || has("\\u002E")
}

/// A config.json as bytes.
///
/// # Errors
/// A host failure that can't be: it was read from bytes.
pub fn to_bytes(spec: &Value) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(spec)
        .map_err(|error| Failure::host("config.json can't be written", error).remedy("report this as a bug"))
}

/// Our own edits in a config that has been here before: called twice for one container, or copied from an earlier
/// one's bundle.
struct Earlier {
    /// None where somebody took it out.
    lease: Option<LeaseId>,
    edits: ContainerEdits,
}

impl Earlier {
    /// # Errors
    /// A usage failure for a `mig.lease` without our hooks beside it, or one that is none: we didn't write it.
    fn find(spec: &Value, hook: &Path) -> Result<Option<Earlier>, Failure> {
        let written = Spec(spec).annotation(keys::LEASE);
        let lease = written
            .map(|id| id.parse().map_err(|why: String| forged(&why)))
            .transpose()?;
        match (lease, device::recover(spec::our_hooks(spec, hook))) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(forged(
                "this container's config has it without our hooks beside it",
            )),
            (lease, Some(mut edits)) => {
                edits
                    .annotations
                    .push((keys::LEASE.to_owned(), written.unwrap_or_default().to_owned()));
                Ok(Some(Earlier { lease, edits }))
            }
        }
    }

    /// It was served by another configuration, perhaps, and its lease is in the ledger which that one names: a device
    /// must not be given by two ledgers.
    ///
    /// # Errors
    /// A host failure where it still has a lease in another ledger than this one, or nobody can tell.
    fn has_no_other_ledger(&self, config: &Config) -> Result<(), Failure> {
        let theirs = device::configuration(&self.edits.hooks).map(Path::new);
        if theirs == config.named_file.as_deref() {
            return Ok(());
        }
        let other = Config::load(theirs)?.ledger_dir;
        let (Some(id), true) = (&self.lease, other != config.ledger_dir) else {
            return Ok(());
        };
        match Ledger::existing(&other)?
            .map(|ledger| ledger.get(id))
            .transpose()?
        {
            None | Some(None) => Ok(()),
            Some(Some(_)) => Err(two_ledgers(theirs, &other, &config.ledger_dir)),
        }
    }

    /// Its reservation, if that waits for this very container and is for the same request: made by this door before, or
    /// by the other one. It gets its whole time again, and is bound to who makes the container now.
    fn renewed(&self, ledger: &Ledger, here: &Here, asker: &Asker) -> Result<Option<Lease>, Failure> {
        let Some(id) = &self.lease else {
            return Ok(None);
        };
        let mut ledger = ledger.lock()?;
        match ledger.get(id)? {
            Some(lease) if lease.boot_id == here.boot_id && asker.is_served_by(&lease) => {
                reserve::renew(&mut ledger, lease, asker.container.clone()).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn take_out(earlier: Option<Earlier>, spec: &mut Value) {
    if let Some(earlier) = earlier {
        spec::take_out(spec, &earlier.edits);
    }
}

fn two_ledgers(theirs: Option<&Path>, other: &Path, ours: &Path) -> Failure {
    let why = format!(
        "{} has it in {}, and this call goes by {}",
        theirs.unwrap_or(Path::new(DEFAULT_PATH)).display(),
        other.display(),
        ours.display()
    );
    Failure::host("this container's lease is in another ledger", why)
        .remedy("let the hooks and oci-mig-runtime go by one configuration (README, Configuration)")
}
