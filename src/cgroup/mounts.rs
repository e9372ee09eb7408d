//! The control group hierarchies that are mounted here, from /proc/thread-self/mountinfo.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use procfs::process::MountInfo;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::{CgroupPath, Population, population, spec_path};

/// v1 hierarchies that every runtime puts a container into where they are mounted, the likeliest first.
const V1_EVIDENCE: [&str; 5] = ["devices", "pids", "memory", "freezer", "name=systemd"];

/// The hierarchies mounted in the calling thread's mount namespace, as they were when this was read.
#[derive(Clone, Debug)]
pub struct Mounts(Vec<Hierarchy>);

/// One mount of (a part of) one hierarchy.
#[derive(Clone, Debug)]
struct Hierarchy {
    /// Controllers and `name=...`; empty for v2.
    controllers: Vec<String>,
    /// The group that the mount point shows: `/`, or a group further down where a part is bind-mounted.
    root: PathBuf,
    /// Where it is mounted.
    point: PathBuf,
    /// The kernel's number of this mount.
    id: u64,
    /// Its file system's device, `major:minor`.
    device: String,
}

impl Mounts {
    /// Reads mountinfo. Mounts that another mount hides are left out.
    pub fn read() -> io::Result<Mounts> {
        let text = std::fs::read("/proc/thread-self/mountinfo")?;
        Ok(Mounts::parse(
            &String::from_utf8_lossy(&text),
            Hierarchy::is_visible,
        ))
    }

    fn parse(mountinfo: &str, visible: impl Fn(&Hierarchy) -> bool) -> Mounts {
        // A busy node has thousands of other mounts: only ours are worth taking apart.
        let ours = mountinfo.lines().filter(|line| line.contains(" - cgroup"));
        let hierarchies = ours.filter_map(|line| {
            let hierarchy = Hierarchy::from_mount(&MountInfo::from_line(line).ok()?)?;
            visible(&hierarchy).then_some(hierarchy)
        });
        Mounts(hierarchies.collect())
    }

    /// Where `group` lies in the file system; `None` where its hierarchy, or that part of it, is not mounted here.
    /// The directory need not exist.
    pub fn directory(&self, group: &CgroupPath) -> Option<PathBuf> {
        self.place(group).map(|(_, directory)| directory)
    }

    fn place(&self, group: &CgroupPath) -> Option<(&Hierarchy, PathBuf)> {
        let mut mounted = self.0.iter().filter(|hierarchy| hierarchy.is_that_of(group));
        mounted.find_map(|hierarchy| Some((hierarchy, hierarchy.directory(&group.path)?)))
    }

    /// Whether anything lives in `group` or below it, besides the process of that pid.
    pub fn population(&self, group: &CgroupPath, besides: Option<i32>) -> Population {
        let Some((hierarchy, directory)) = self.place(group) else {
            return Population::Unknown;
        };
        let found = match group.is_v2() {
            true => population::v2(&directory, besides),
            false => population::walk(&directory, besides),
        };
        match found {
            // What is no longer mounted has no such group, whatever lives in it.
            Population::Empty if !hierarchy.is_visible() => Population::Unknown,
            found => found,
        }
    }

    /// The groups that an OCI spec's `linux.cgroupsPath` names: on v2 where it is mounted, and on the first mounted v1
    /// hierarchy that runtimes always use. Two suffice as evidence, since a container's processes are in all.
    ///
    /// Empty for a relative path: where that leads depends on the runtime and its own group.
    pub fn from_spec(&self, cgroups_path: &str) -> Vec<CgroupPath> {
        let Some(path) = spec_path(cgroups_path) else {
            return Vec::new();
        };
        let v1 = V1_EVIDENCE
            .iter()
            .find_map(|name| self.0.iter().find(|hierarchy| hierarchy.has(name)));
        let v2 = self.0.iter().find(|hierarchy| hierarchy.controllers.is_empty());
        v1.into_iter()
            .chain(v2)
            .map(|hierarchy| hierarchy.group(&path))
            .collect()
    }
}

impl Hierarchy {
    fn from_mount(mount: &MountInfo) -> Option<Hierarchy> {
        let controllers = match mount.fs_type.as_str() {
            "cgroup2" => Vec::new(),
            "cgroup" => mount.super_options.iter().map(super_option).collect(),
            _ => return None,
        };
        Some(Hierarchy {
            controllers,
            root: unescape(&mount.root),
            point: unescape(mount.mount_point.to_str()?),
            id: u64::try_from(mount.mnt_id).ok()?,
            device: mount.majmin.clone(),
        })
    }

    /// Whether what one finds at the mount point is this mount, not one on top of it: another part of the same hierarchy
    /// has the same device, and none of the groups that this one shows.
    fn is_visible(&self) -> bool {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let Ok(found) = statx(CWD, &self.point, AtFlags::empty(), wanted) else {
            return false;
        };
        // Before Linux 5.8 mounts have no numbers to ask for.
        let is_it = found.stx_mask & StatxFlags::MNT_ID.bits() == 0 || found.stx_mnt_id == self.id;
        is_it && self.device == format!("{}:{}", found.stx_dev_major, found.stx_dev_minor)
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    /// Whether `group` is in this hierarchy. Options that are no controllers (`xattr`) do no harm here.
    fn is_that_of(&self, group: &CgroupPath) -> bool {
        if group.is_v2() {
            return self.controllers.is_empty();
        }
        group.controllers.split(',').all(|name| self.has(name))
    }

    fn directory(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        let inside = below
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        inside.then(|| self.point.join(below))
    }

    /// The group that runtimes mean by `path`, which they count from the mount point.
    fn group(&self, path: &str) -> CgroupPath {
        let path = self.root.join(path.trim_start_matches('/'));
        CgroupPath {
            controllers: self.name(),
            path: path.to_string_lossy().into_owned(),
        }
    }

    /// The hierarchy's name in /proc/PID/cgroup, which alone knows the order of co-mounted controllers.
    fn name(&self) -> String {
        if self.controllers.is_empty() {
            return String::new();
        }
        let own = super::of_process(std::process::id() as i32).unwrap_or_default();
        let same = own
            .into_iter()
            .find(|group| !group.is_v2() && self.is_that_of(group));
        same.map_or_else(|| self.controllers.join(","), |group| group.controllers)
    }
}

fn super_option((key, value): (&String, &Option<String>)) -> String {
    match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    }
}

/// mountinfo writes space, tab, newline and backslash as `\040` and the like.
pub fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let octal = || u8::from_str_radix(std::str::from_utf8(after.get(..3)?).ok()?, 8).ok();
        match (*first == b'\\').then(octal).flatten() {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const NESTED: &str = "\
50 49 0:33 /docker/1f /sys/fs/cgroup/devices ro - cgroup cgroup rw,devices
51 49 0:33 /docker/1f/c /odd\\040place rw - cgroup cgroup rw,devices
";

    fn mounts(text: &str) -> Mounts {
        Mounts::parse(text, |_| true)
    }

    fn group(controllers: &str, path: &str) -> CgroupPath {
        CgroupPath {
            controllers: controllers.to_owned(),
            path: path.to_owned(),
        }
    }

    #[test]
    fn each_hierarchy_is_found_where_it_is_mounted() {
        let mounts = mounts(HYBRID);
        for (group, directory) in [
            (group("devices", "/a/b"), "/sys/fs/cgroup/devices/a/b"),
            (group("cpu,cpuacct", "/a"), "/sys/fs/cgroup/cpu,cpuacct/a"),
            (group("cpuacct,cpu", "/a"), "/sys/fs/cgroup/cpu,cpuacct/a"),
            (group("name=systemd", "/"), "/sys/fs/cgroup/systemd/"),
            (group("", "/a"), "/sys/fs/cgroup/unified/a"),
        ] {
            assert_eq!(mounts.directory(&group), Some(directory.into()), "{group:?}");
        }
        for none in [
            group("memory", "/a"),
            group("", "/../a"),
            group("devices", "/a/../.."),
        ] {
            assert_eq!(mounts.directory(&none), None, "{none:?}");
        }
        let hidden = Mounts::parse(HYBRID, |mount| !mount.point.ends_with("devices"));
        assert_eq!(hidden.directory(&group("devices", "/a")), None);
    }

    #[test]
    fn a_mounts_root_counts() {
        let mounts = mounts(NESTED);
        assert_eq!(mounts.directory(&group("devices", "/other")), None);
        assert_eq!(
            mounts.directory(&group("devices", "/docker/1f/c")),
            Some("/sys/fs/cgroup/devices/c".into())
        );
        assert_eq!(
            unescape("/odd\\040place\\134\\9"),
            PathBuf::from("/odd place\\\\9")
        );
        // A runtime in there counts cgroupsPath from the mount, the kernel from the hierarchy's root.
        assert_eq!(mounts.from_spec("/c"), [group("devices", "/docker/1f/c")]);
    }

    #[test]
    fn a_cgroups_path_names_one_v1_group_and_v2s() {
        let found = mounts(HYBRID).from_spec("machine.slice:libpod:1f");
        let path = "/machine.slice/libpod-1f.scope";
        assert_eq!(found, [group("devices", path), group("", path)]);
        assert!(mounts(HYBRID).from_spec("relative").is_empty());
        assert!(mounts("").from_spec("/a").is_empty());
    }

    #[test]
    fn this_process_is_listed_where_its_groups_are_mounted() {
        let mounts = Mounts::read().unwrap();
        let own = super::super::of_process(std::process::id() as i32).unwrap();
        let found: Vec<_> = own.iter().filter_map(|group| mounts.directory(group)).collect();
        assert!(!found.is_empty());
        for directory in found {
            let procs = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap();
            let pid = std::process::id().to_string();
            assert!(procs.lines().any(|line| line == pid), "{}", directory.display());
        }
    }
}
