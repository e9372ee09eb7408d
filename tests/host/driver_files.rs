//! The driver's files as they are found below `driver.root`: its own version's, for this machine, and remembered for as
//! long as nothing changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fake_node::{Bits, LEFT_OVER, NodeSpec, Scratch, elf_library};
use oci_mig_hook::edits::driver::{Capabilities, DriverFile, Layout, Place, mounts};
use oci_mig_hook::failure::Exit;

use crate::{cut, host, instance, ledger, names, ok, program, up};

const VERSION: &str = "550.54.15";

fn node() -> Scratch {
    let node = up(&NodeSpec {
        driver_files: true,
        ..cut(vec![instance("1g.10gb")])
    });
    // The ledger's folder comes with the first lease.
    ok(&mut program(&node, &["refresh"]));
    node
}

fn files(node: &Scratch) -> Vec<DriverFile> {
    host(node).driver_files().expect("the driver's files")
}

/// What a container of Debian's layout is given, by path.
fn given(node: &Scratch, asked: &str) -> Vec<(String, PathBuf)> {
    let debian = Layout::of(&|path| {
        path.ends_with("x86_64-linux-gnu/libc.so.6") || path.ends_with("aarch64-linux-gnu/libc.so.6")
    });
    let mounts = mounts(&files(node), asked.parse().expect("capabilities"), &debian);
    let mut given: Vec<_> = mounts
        .into_iter()
        .map(|mount| (mount.path.display().to_string(), mount.host_path))
        .collect();
    given.sort();
    given
}

fn paths(node: &Scratch, asked: &str) -> Vec<String> {
    given(node, asked).into_iter().map(|(path, _)| path).collect()
}

fn triple() -> &'static str {
    oci_mig_hook::edits::driver::TRIPLE
}

/// In Debian's folder of libraries.
fn library(name: &str) -> String {
    format!("/usr/lib/{}/{name}", triple())
}

fn remembered(node: &Scratch) -> PathBuf {
    ledger(node).join("driver-files.json")
}

#[test]
fn utility_is_these_files_and_no_others() {
    let node = node();
    let mut expected: Vec<String> = ["libnvidia-cfg.so", "libnvidia-ml.so"]
        .iter()
        .flat_map(|name| [format!("{name}.1"), format!("{name}.{VERSION}")])
        .map(|name| library(&name))
        .collect();
    expected.extend(
        ["nvidia-debugdump", "nvidia-persistenced", "nvidia-smi"].map(|name| format!("/usr/bin/{name}")),
    );
    expected.extend(
        ["gsp_ga10x.bin", "gsp_tu10x.bin"].map(|name| format!("/lib/firmware/nvidia/{VERSION}/{name}")),
    );
    expected.sort();
    assert_eq!(paths(&node, "utility"), expected);
}

#[test]
fn compute_has_each_library_under_its_version_and_its_soname() {
    let node = node();
    let given = given(&node, "compute");
    let host = node
        .dir()
        .join(format!("usr/lib/{}/libcuda.so.{VERSION}", triple()));
    for name in ["libcuda.so", "libcuda.so.1", &format!("libcuda.so.{VERSION}")] {
        let (_, source) = given.iter().find(|(path, _)| *path == library(name)).expect(name);
        assert_eq!(*source, host, "{name}");
    }
    let paths: Vec<&String> = given.iter().map(|(path, _)| path).collect();
    // Its SONAME is its whole name.
    let whole = library(&format!("libnvidia-pkcs11-openssl3.so.{VERSION}"));
    assert_eq!(paths.iter().filter(|path| ***path == whole).count(), 1);
    assert!(paths.contains(&&library("libnvidia-nvvm.so.4")), "{paths:?}");
    assert!(
        paths.contains(&&"/etc/OpenCL/vendors/nvidia.icd".to_owned()),
        "{paths:?}"
    );
    assert!(
        !paths
            .iter()
            .any(|path| path.contains("libnvidia-encode") || path.contains("libGLX")),
        "{paths:?}"
    );
}

#[test]
fn what_is_of_another_version_or_no_library_is_not_taken() {
    let node = node();
    let all = given(&node, "all");
    // A driver of before, a text, a FIFO, and an older nvidia-smi that stands first.
    for other in [
        LEFT_OVER,
        "libnvidia-fbc",
        "libnvoptix",
        "usr/bin/nvidia-smi",
        "README",
    ] {
        let found = all
            .iter()
            .find(|(_, source)| source.display().to_string().contains(other));
        assert_eq!(found, None, "{other}");
    }
    // What carries the version and no table lists comes with all.
    let unlisted = library(&format!("libnvidia-wayland-client.so.{VERSION}"));
    let has = |asked: &str| paths(&node, asked).contains(&unlisted);
    assert!(has("all"));
    assert!(!has("compute,utility,video,graphics,display,ngx,compat32"));
}

#[test]
fn libraries_of_32_bits_come_with_compat32_into_a_folder_of_their_own() {
    let node = node();
    let narrow = |asked: &str| {
        let files = paths(&node, asked).into_iter();
        files
            .filter(|path| path.starts_with(&format!("/usr/lib/{}/", oci_mig_hook::edits::driver::TRIPLE_32)))
            .count()
    };
    assert_eq!(narrow("compute,utility"), 0);
    assert_eq!(narrow("utility,compat32"), 2);
    // libcuda's three names, and ptxjitcompiler's two.
    assert_eq!(narrow("compute,compat32"), 5);
    assert_eq!(narrow("compat32"), 0);
}

#[test]
fn a_folder_that_only_the_loaders_cache_names_is_found() {
    let node = node();
    let usual = node.dir().join(format!("usr/lib/{}", triple()));
    // As long as the other, so that nothing in the cache moves.
    let cache = fs::read(node.dir().join("etc/ld.so.cache")).expect("the cache");
    let from = format!("/usr/lib/{}/", triple());
    let to = format!("/opt/{}/", "n".repeat(from.len() - "/opt//".len()));
    let replaced = replace(&cache, from.as_bytes(), to.as_bytes());
    assert_ne!(replaced, cache, "the fake's cache names libcuda's folder");
    fs::write(node.dir().join("etc/ld.so.cache"), replaced).expect("a cache");
    let to = node.dir().join(to.trim_matches('/'));
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::rename(&usual, &to).expect("the libraries, moved");
    let (_, source) = given(&node, "compute")
        .into_iter()
        .find(|(path, _)| path.ends_with("libcuda.so.1"))
        .expect("libcuda");
    assert_eq!(source, to.join(format!("libcuda.so.{VERSION}")));
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at..].starts_with(from) {
            true => {
                out.extend(to);
                at += from.len();
            }
            false => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

#[test]
fn a_link_below_the_root_leads_to_the_roots_files_and_never_to_the_hosts() {
    let node = node();
    let folder = node.dir().join(format!("usr/lib/{}", triple()));
    let file = folder.join(format!("libnvidia-nscq.so.{VERSION}"));
    // As absolute as in a driver's container, and with more ".." than there are folders.
    fs::create_dir_all(node.dir().join("opt")).expect("a folder");
    fs::write(
        node.dir().join("opt/nscq"),
        elf_library(Bits::SixtyFour, Some("libnvidia-nscq.so.2"), ""),
    )
    .expect("a file");
    symlink("/opt/nscq", &file).expect("a link");
    let cfg = folder.join(format!("libnvidia-cfg.so.{VERSION}"));
    fs::remove_file(&cfg).expect("a file");
    symlink("../../../../../../../../../../../etc/hostname", &cfg).expect("a link");
    let given = given(&node, "utility");
    let source = |name: &str| {
        given
            .iter()
            .find(|(path, _)| *path == library(name))
            .map(|(_, source)| source.clone())
    };
    assert_eq!(source("libnvidia-nscq.so.2"), Some(node.dir().join("opt/nscq")));
    assert_eq!(source("libnvidia-cfg.so.1"), None);
}

fn sockets(node: &Scratch) -> Vec<(PathBuf, PathBuf)> {
    let at = |file: DriverFile| match file.place {
        Place::Socket(path) => Some((path, file.host_path)),
        _ => None,
    };
    files(node).into_iter().filter_map(at).collect()
}

fn listens(path: &Path) -> std::os::unix::net::UnixListener {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::os::unix::net::UnixListener::bind(path).expect("a socket")
}

#[test]
fn sockets_are_looked_for_every_time() {
    let node = node();
    assert_eq!(sockets(&node), []);
    let path = Path::new("/run/nvidia-persistenced/socket");
    let there = node.dir().join("run/nvidia-persistenced/socket");
    let _listener = listens(&there);
    assert_eq!(sockets(&node), [(path.to_owned(), there)]);
    let mounts = mounts(&files(&node), Capabilities::ALL, &Layout::unknown());
    assert_eq!(mounts.iter().filter(|mount| mount.path == path).count(), 1);
}

/// It is told there to connect and part GPUs, whoever's they are.
#[test]
fn the_fabric_managers_socket_is_given_where_the_configuration_says_so() {
    let node = node();
    let _listener = listens(&node.dir().join("run/nvidia-fabricmanager/socket"));
    assert_eq!(sockets(&node), []);
    configure(&node, "sockets = [\"fabricmanager\"]");
    assert_eq!(sockets(&node).len(), 1);
}

/// A mount of it can be written to, so a link would lead a container anywhere on the host.
#[test]
fn a_socket_that_others_could_exchange_is_given_to_nobody() {
    use std::os::unix::fs::PermissionsExt;
    let node = node();
    let folder = node.dir().join("run/nvidia-persistenced");
    let _listener = listens(&folder.join("socket"));
    assert_eq!(sockets(&node).len(), 1);
    for mode in [0o1777, 0o775] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("a mode");
        assert_eq!(sockets(&node), [], "{mode:o}");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("a mode");
    // A daemon's own folder may be its user's; what is above is root's.
    let daemon = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None).expect("chown");
    daemon(&folder, 1000);
    assert_eq!(sockets(&node).len(), 1);
    let above = node.dir().join("run");
    daemon(&above, 1000);
    assert_eq!(sockets(&node), []);
    daemon(&above, 0);
    assert_eq!(sockets(&node).len(), 1);
    fs::remove_file(folder.join("socket")).expect("no socket");
    symlink("/", folder.join("socket")).expect("a link");
    assert_eq!(sockets(&node), [], "a folder is no socket");
}

#[test]
fn the_mps_daemons_folder_is_given_where_the_configuration_names_it() {
    let node = node();
    // A folder that nobody but root can exchange: simulated nodes lie below /tmp.
    configure(&node, "mps = \"/usr/share\"");
    assert_eq!(sockets(&node), [("/tmp/nvidia-mps".into(), "/usr/share".into())]);
    let exchanged = node.dir().join("run/mps");
    fs::create_dir_all(&exchanged).expect("a folder");
    let text = fs::read_to_string(node.config()).expect("config.toml");
    let text = text.replace("mps = \"/usr/share\"", &format!("mps = {exchanged:?}"));
    fs::write(node.config(), text).expect("config.toml");
    let failure = host(&node).driver_files().expect_err("others could exchange it");
    assert_eq!(failure.exit(), Exit::Host);
    assert_eq!(
        failure.to_string(),
        format!(
            "driver.mps = {exchanged:?} can't be given to a container: it isn't there, or others than root may write in a \
             folder above it; start the MPS daemon with CUDA_MPS_PIPE_DIRECTORY below /run, and name that folder"
        )
    );
}

/// A line of `driver`'s table.
fn configure(node: &Scratch, line: &str) {
    let path = node.config();
    let text = fs::read_to_string(&path).expect("config.toml");
    fs::write(
        &path,
        text.replacen("[driver]\n", &format!("[driver]\n{line}\n"), 1),
    )
    .expect("config.toml");
}

#[test]
fn they_are_remembered_until_a_folder_or_the_driver_changes() {
    let node = node();
    let first = files(&node);
    let written = fs::read(remembered(&node)).expect("remembered");
    // What is remembered is what is given: nothing is looked for.
    let marked = String::from_utf8(written.clone())
        .expect("text")
        .replace("libnvidia-ml.so.1", "libnvidia-ml.so.9");
    fs::write(remembered(&node), &marked).expect("a file");
    assert_ne!(files(&node), first);
    // A new file changes its folder.
    let new = node
        .dir()
        .join(format!("usr/lib/{}/libnvidia-nscq.so.{VERSION}", triple()));
    fs::write(
        &new,
        elf_library(Bits::SixtyFour, Some("libnvidia-nscq.so.2"), ""),
    )
    .expect("a file");
    assert_eq!(files(&node).len(), first.len() + 1);
    fs::remove_file(&new).expect("a file");
    assert_eq!(files(&node), first);
    // So does a folder that was not there.
    let before = fs::read(remembered(&node)).expect("remembered");
    fs::create_dir_all(node.dir().join("usr/lib64")).expect("a folder");
    assert_eq!(files(&node), first);
    assert_ne!(fs::read(remembered(&node)).expect("remembered"), before);
    // And refresh forgets.
    ok(&mut program(&node, &["refresh"]));
    assert!(!names(&ledger(&node)).contains(&"driver-files.json".to_owned()));
}

#[test]
fn what_is_remembered_is_for_one_boot_one_driver_and_nobody_elses_to_write() {
    let node = node();
    let first = files(&node);
    let text = fs::read_to_string(remembered(&node)).expect("remembered");
    for (from, to) in [
        ("\"boot\":\"", "\"boot\":\"x"),
        ("\"driver\":\"550", "\"driver\":\"551"),
        ("{\"version\":2", "{\"version\":3"),
        ("{", "{\"more\":1,"),
    ] {
        let broken = text
            .replacen(from, to, 1)
            .replace("libnvidia-ml.so.1", "libnvidia-ml.so.9");
        fs::write(remembered(&node), broken).expect("a file");
        assert_eq!(files(&node), first, "{from}");
    }
    let open = text.replace("libnvidia-ml.so.1", "libnvidia-ml.so.9");
    fs::write(remembered(&node), open).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(remembered(&node), mode).expect("a mode");
    assert_eq!(files(&node), first);
}

#[test]
fn no_library_of_the_drivers_version_is_an_error_that_says_what_there_is() {
    let node = node();
    let version = node.proc().join("driver/nvidia/version");
    let text = fs::read_to_string(&version).expect("the version");
    fs::write(&version, text.replace(VERSION, "560.35.03")).expect("a version");
    let failure = host(&node).driver_files().expect_err("no such library");
    assert_eq!(failure.exit(), Exit::Host);
    assert_eq!(
        failure.to_string(),
        format!(
            "no library of the NVIDIA driver 560.35.03 is below {}: there are those of {VERSION}; the kernel still runs \
             the driver of before an upgrade: reboot, or load its modules anew",
            node.dir().display()
        )
    );
    fs::remove_dir_all(node.dir().join("usr")).expect("a folder");
    let failure = host(&node).driver_files().expect_err("no library at all");
    assert!(
        failure.to_string().ends_with(
            ": neither its loader's cache nor the usual folders have one; correct driver.root, or give containers no files \
             of the driver's with driver.files = \"none\""
        ),
        "{failure}"
    );
    fs::write(&version, "no number\n").expect("a version");
    let failure = host(&node).driver_files().expect_err("no version");
    assert_eq!(failure.exit(), Exit::Host);
    assert!(
        failure.to_string().contains("names no version: no number"),
        "{failure}"
    );
    fs::remove_file(&version).expect("the version");
    let failure = host(&node).driver_files().expect_err("no driver");
    assert!(
        failure.to_string().starts_with("the NVIDIA driver is not loaded"),
        "{failure}"
    );
}
