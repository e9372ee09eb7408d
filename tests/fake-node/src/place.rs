//! Where GPU instances and compute instances lie, and the ids that follow from it.

use anyhow::{Result, bail, ensure};
use fake_nvml::state::{CiProfile, ComputeInstance, GiProfile, GpuInstance};

use crate::spec::{ComputeSpec, IdMap, InstanceSpec};
use crate::uuid;

/// The id of the GPU instance of `size` that begins at `start`, on a GPU of `slices` memory slices.
///
/// Ids count through each size: full 0, halves from 1, quarters from 3, eighths from 7.
pub fn gi_id(start: u32, size: u32, slices: u32, map: IdMap) -> u32 {
    let parts = slices / size;
    let straight = match map {
        IdMap::Swapped if parts > 1 => (start + slices / 2) % slices,
        _ => start,
    };
    parts - 1 + straight / size
}

/// A GPU that is being filled.
pub struct Board<'a> {
    /// Memory slices.
    pub slices: u32,
    /// Its die's way with ids.
    pub map: IdMap,
    /// Its profiles, under the names that NODE.json uses.
    pub table: &'a [GiProfile],
    /// Its UUID.
    pub uuid: &'a str,
    /// Whether MIG devices have the UUIDs of before R470.
    pub old_uuids: bool,
}

/// A GPU instance whose place is decided.
struct Placed<'a> {
    order: usize,
    spec: &'a InstanceSpec,
    row: &'a GiProfile,
    start: u32,
}

impl Board<'_> {
    /// Places all instances: first those that say where, then the others in their order, each at the lowest free
    /// place that its profile allows.
    pub fn fill(&self, wanted: &[InstanceSpec]) -> Result<Vec<GpuInstance>> {
        let mut placed: Vec<Placed> = Vec::new();
        let fixed = |spec: &InstanceSpec| spec.start.is_some() || spec.gi.is_some();
        let numbered = || wanted.iter().enumerate();
        for (order, spec) in numbered()
            .filter(|(_, spec)| fixed(spec))
            .chain(numbered().filter(|(_, spec)| !fixed(spec)))
        {
            let at = self.place(order, spec, &placed);
            placed.push(at.map_err(|error| error.context(format!("instances[{order}] ({})", spec.profile)))?);
        }
        placed.sort_by_key(|one| one.order);
        let mut instances: Vec<GpuInstance> = placed
            .iter()
            .map(|one| self.instance(one))
            .collect::<Result<_>>()?;
        instances.sort_by_key(|gi| gi.id);
        Ok(instances)
    }

    fn place<'a>(&'a self, order: usize, spec: &'a InstanceSpec, placed: &[Placed]) -> Result<Placed<'a>> {
        let Some(row) = self.table.iter().find(|row| row.name == spec.profile) else {
            let names: Vec<&str> = self.table.iter().map(|row| row.name.as_str()).collect();
            bail!(
                "no such profile with known figures on this GPU; it has {}",
                names.join(", ")
            );
        };
        let same = placed.iter().filter(|one| one.row.id == row.id).count() as u32;
        ensure!(same < row.max, "at most {} of it fit on one GPU", row.max);
        let id = |start: u32| gi_id(start, row.size, self.slices, self.map);
        let free = |start: u32| {
            let mut others = placed.iter();
            !others.any(|one| one.start < start + row.size && start < one.start + one.row.size)
        };
        let fits = |start: &&u32| {
            spec.start.is_none_or(|wanted| wanted == **start)
                && spec.gi.is_none_or(|wanted| wanted == id(**start))
        };
        let mut candidates = row.starts.iter().filter(fits).peekable();
        ensure!(
            candidates.peek().is_some(),
            "start and gi must be one of {}",
            row.starts
                .iter()
                .map(|start| format!("{start} (gi {})", id(*start)))
                .collect::<Vec<_>>()
                .join(", ")
        );
        match candidates.find(|start| free(**start)) {
            Some(start) => Ok(Placed {
                order,
                spec,
                row,
                start: *start,
            }),
            None => bail!("no room left; give starts if another order has room"),
        }
    }

    fn instance(&self, placed: &Placed) -> Result<GpuInstance> {
        let gi = gi_id(placed.start, placed.row.size, self.slices, self.map);
        let whole = [ComputeSpec::default()];
        let wanted = placed.spec.compute.as_deref().unwrap_or(&whole);
        let mut compute = Vec::new();
        for (order, spec) in wanted.iter().enumerate() {
            let made = self.compute(gi, placed.row, spec, &compute);
            compute.push(
                made.map_err(|error| error.context(format!("instances[{}].compute[{order}]", placed.order)))?,
            );
        }
        compute.sort_by_key(|ci: &ComputeInstance| ci.id);
        Ok(GpuInstance {
            id: gi,
            profile: placed.row.id,
            start: placed.start,
            compute,
        })
    }

    fn compute(
        &self,
        gi: u32,
        row: &GiProfile,
        spec: &ComputeSpec,
        others: &[ComputeInstance],
    ) -> Result<ComputeInstance> {
        let slices = match spec
            .profile
            .as_deref()
            .map(|name| name.strip_suffix('c').map(str::parse))
        {
            None => row.slices,
            Some(Some(Ok(slices))) => slices,
            _ => bail!("a compute profile is written 1c, 2c, ..."),
        };
        let Some(profile) = row.compute.iter().find(|ci| ci.slices == slices) else {
            bail!("{} has no compute profile of {slices} slices", row.name);
        };
        let same = others.iter().filter(|ci| ci.profile == profile.id).count() as u32;
        ensure!(
            same < profile.max,
            "at most {} of {slices}c fit in {}",
            profile.max,
            row.name
        );
        let size = |ci: &ComputeInstance| {
            row.compute
                .iter()
                .find(|known| known.id == ci.profile)
                .map_or(0, width)
        };
        let free = |start: &u32| {
            !others
                .iter()
                .any(|ci| ci.start < start + slices && *start < ci.start + size(ci))
        };
        let Some(start) = (0..=row.slices - slices).find(free) else {
            bail!("no {slices} slices left in {}", row.name);
        };
        let taken = |id: &u32| others.iter().any(|ci| ci.id == *id);
        let id = spec.ci.or_else(|| (0..8).find(|id| !taken(id))).unwrap_or(8);
        ensure!(
            id < 8 && !taken(&id),
            "compute instance id {id} is taken or above 7"
        );
        let uuid = match &spec.uuid {
            Some(uuid) => uuid.clone(),
            None if self.old_uuids => format!("MIG-{}/{gi}/{id}", self.uuid),
            None => uuid::mig(self.uuid, gi, id),
        };
        Ok(ComputeInstance {
            id,
            profile: profile.id,
            start,
            index: 0,
            uuid,
        })
    }
}

fn width(profile: &CiProfile) -> u32 {
    profile.slices
}

/// Gives MIG devices their indexes: a rank by (GI, CI), with the holes left out.
pub fn number(instances: &mut [GpuInstance], holes: &[u32], most: u32) -> Result<()> {
    let mut free = (0..most).filter(|index| !holes.contains(index));
    for ci in instances.iter_mut().flat_map(|gi| gi.compute.iter_mut()) {
        match free.next() {
            Some(index) => ci.index = index,
            None => bail!(
                "more MIG devices than indexes: {most}, less {} holes",
                holes.len()
            ),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_published_rule() {
        // Eighth k at start k-7, quarter k at 2(k-3), half k at 4(k-1); swapped: four further, round the end.
        for start in 0..7 {
            assert_eq!(gi_id(start, 1, 8, IdMap::Identity), start + 7);
        }
        assert_eq!(gi_id(0, 1, 8, IdMap::Swapped), 11);
        assert_eq!(gi_id(6, 1, 8, IdMap::Swapped), 9);
        assert_eq!(
            [0, 2, 4].map(|start| gi_id(start, 2, 8, IdMap::Identity)),
            [3, 4, 5]
        );
        assert_eq!(
            [0, 2, 4].map(|start| gi_id(start, 2, 8, IdMap::Swapped)),
            [5, 6, 3]
        );
        assert_eq!([0, 4].map(|start| gi_id(start, 4, 8, IdMap::Identity)), [1, 2]);
        assert_eq!([0, 4].map(|start| gi_id(start, 4, 8, IdMap::Swapped)), [2, 1]);
        assert_eq!(gi_id(0, 8, 8, IdMap::Swapped), 0);
        // A30 has quarters of one slice, RTX PRO 6000 quarters of three.
        assert_eq!(
            [0, 1, 2, 3].map(|start| gi_id(start, 1, 4, IdMap::Identity)),
            [3, 4, 5, 6]
        );
        assert_eq!(
            [0, 3, 6, 9].map(|start| gi_id(start, 3, 12, IdMap::Identity)),
            [3, 4, 5, 6]
        );
        assert_eq!([0, 6].map(|start| gi_id(start, 6, 12, IdMap::Identity)), [1, 2]);
    }
}
