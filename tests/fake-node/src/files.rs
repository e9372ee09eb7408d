//! The driver's files below a node's folder, laid out as Debian's multiarch has them: libraries with their links, the
//! loader's cache, programs, firmware, configuration; and beside them what is not to be taken for one of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};

use crate::elf::{Bits, library};

/// Libraries of 64 bits, and the number in each one's SONAME; without one the SONAME is the file's whole name.
const LIBRARIES: [(&str, Option<u32>); 22] = [
    ("libEGL_nvidia", Some(0)),
    ("libGLX_nvidia", Some(0)),
    ("libcuda", Some(1)),
    ("libcudadebugger", Some(1)),
    ("libnvcuvid", Some(1)),
    ("libnvidia-allocator", Some(1)),
    ("libnvidia-cfg", Some(1)),
    ("libnvidia-eglcore", None),
    ("libnvidia-encode", Some(1)),
    ("libnvidia-glcore", None),
    ("libnvidia-glvkspirv", None),
    ("libnvidia-gpucomp", None),
    ("libnvidia-ml", Some(1)),
    ("libnvidia-ngx", Some(1)),
    ("libnvidia-nvvm", Some(4)),
    ("libnvidia-opencl", Some(1)),
    ("libnvidia-opticalflow", Some(1)),
    ("libnvidia-pkcs11-openssl3", None),
    ("libnvidia-ptxjitcompiler", Some(1)),
    ("libnvidia-tls", None),
    ("libnvidia-wayland-client", None),
    ("libvdpau_nvidia", Some(1)),
];

/// Those that there are in 32 bits too.
const LIBRARIES_32: [&str; 3] = ["libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler"];

/// Programs with their folders; Debian has nvidia-smi in a folder of its own.
const PROGRAMS: [(&str, &str); 5] = [
    ("usr/lib/nvidia/current", "nvidia-smi"),
    ("usr/bin", "nvidia-debugdump"),
    ("usr/bin", "nvidia-persistenced"),
    ("usr/bin", "nvidia-cuda-mps-control"),
    ("usr/sbin", "nvidia-cuda-mps-server"),
];

const FIRMWARE: [&str; 3] = ["gsp_ga10x.bin", "gsp_tu10x.bin", "README"];

const CONFIGURATION: [&str; 3] = [
    "etc/OpenCL/vendors/nvidia.icd",
    "usr/share/glvnd/egl_vendor.d/10_nvidia.json",
    "usr/share/vulkan/icd.d/nvidia_icd.json",
];

/// A driver that was there before, and of which something is left.
pub const LEFT_OVER: &str = "470.256.02";

/// Lays out all of it below `root`.
pub fn plant(root: &Path, version: &str) -> Result<()> {
    let wide = format!("usr/lib/{}", triple());
    let narrow = format!("usr/lib/{}", triple_32());
    let mut cached = Vec::new();
    for (name, number) in LIBRARIES {
        cached.push(put_library(root, &wide, name, number, version, Bits::SixtyFour)?);
        if LIBRARIES_32.contains(&name) {
            put_library(root, &narrow, name, number, version, Bits::ThirtyTwo)?;
        }
    }
    strays(root, &wide, version)?;
    for (folder, name) in PROGRAMS {
        let text = format!("{name} {version}\0");
        put(
            root,
            &format!("{folder}/{name}"),
            &library(Bits::SixtyFour, None, &text),
        )?;
    }
    let older = format!("nvidia-smi {LEFT_OVER}\0");
    put(
        root,
        "usr/bin/nvidia-smi",
        &library(Bits::SixtyFour, None, &older),
    )?;
    for name in FIRMWARE {
        put(
            root,
            &format!("lib/firmware/nvidia/{version}/{name}"),
            b"firmware",
        )?;
    }
    for path in CONFIGURATION {
        put(root, path, b"configuration")?;
    }
    put(root, "etc/ld.so.cache", &loader_cache(&cached))
}

/// A library with its links; its path below the root, by SONAME.
fn put_library(
    root: &Path,
    folder: &str,
    name: &str,
    number: Option<u32>,
    version: &str,
    bits: Bits,
) -> Result<String> {
    let file = format!("{name}.so.{version}");
    let soname = number.map_or(file.clone(), |number| format!("{name}.so.{number}"));
    put(
        root,
        &format!("{folder}/{file}"),
        &library(bits, Some(&soname), &format!("{name} of {version}")),
    )?;
    if soname != file {
        symlink(&file, root.join(folder).join(&soname))?;
        symlink(&soname, root.join(folder).join(format!("{name}.so")))?;
    }
    Ok(format!("/{folder}/{soname}"))
}

/// What is there and isn't the driver's, or not this driver's.
fn strays(root: &Path, folder: &str, version: &str) -> Result<()> {
    let older = library(Bits::SixtyFour, Some("libnvidia-ifr.so.1"), "older");
    put(root, &format!("{folder}/libnvidia-ifr.so.{LEFT_OVER}"), &older)?;
    put(
        root,
        &format!("{folder}/libnvidia-fbc.so.{version}"),
        b"no library at all",
    )?;
    let pipe = root.join(folder).join(format!("libnvoptix.so.{version}"));
    let mode = rustix::fs::Mode::from(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)?;
    Ok(())
}

/// The cache of glibc from 2.32 on.
fn loader_cache(paths: &[String]) -> Vec<u8> {
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    let mut strings = Vec::new();
    let mut entries = Vec::new();
    let first = HEADER + ENTRY * paths.len();
    for path in paths {
        let at = (first + strings.len()) as u32;
        let name = at + path.rfind('/').map_or(0, |slash| slash + 1) as u32;
        entries.extend([0x303, name, at, 0, 0, 0].map(u32::to_ne_bytes).concat());
        strings.extend(path.bytes().chain([0]));
    }
    let mut cache = b"glibc-ld.so.cache1.1".to_vec();
    cache.extend((paths.len() as u32).to_ne_bytes());
    cache.extend((strings.len() as u32).to_ne_bytes());
    cache.resize(HEADER, 0);
    cache.extend(entries);
    cache.extend(strings);
    cache
}

/// A file that all may read and run, whatever the umask.
fn put(root: &Path, path: &str, content: &[u8]) -> Result<()> {
    let parts: Vec<&str> = path.split('/').collect();
    for length in 1..parts.len() {
        let folder = root.join(parts[..length].join("/"));
        if !folder.exists() {
            fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
            fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        }
    }
    let path = root.join(path);
    fs::write(&path, content).with_context(|| path.display().to_string())?;
    Ok(fs::set_permissions(&path, Permissions::from_mode(0o755))?)
}

fn triple() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "aarch64-linux-gnu",
        _ => "x86_64-linux-gnu",
    }
}

fn triple_32() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm-linux-gnueabihf",
        _ => "i386-linux-gnu",
    }
}
