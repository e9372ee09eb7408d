//! The shared root filesystem as an image that an engine loads: the archive that `docker save` makes, built by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use super::process::run;
use super::rootfs;
use super::scratch::Scratch;

/// Its name. The tag is spelled out: containerd adds none.
pub const IMAGE: &str = "localhost/busybox:latest";

/// The archive. An image without a command of its own sleeps: a pod's sandbox is started with what its image says.
pub fn archive() -> &'static Path {
    static ARCHIVE: OnceLock<(Scratch, PathBuf)> = OnceLock::new();
    let (_, path) = ARCHIVE.get_or_init(build);
    path
}

fn build() -> (Scratch, PathBuf) {
    let folder = Scratch::new("image");
    fs::copy(rootfs::archive(), folder.join("layer.tar")).expect("a copy of the layer");
    let path = of_layer(IMAGE, &folder);
    (folder, path)
}

/// A root filesystem as an image of that name, saved in that folder.
pub fn save(root: &Path, name: &str, folder: &Scratch) -> PathBuf {
    fs::rename(rootfs::pack(root, folder), folder.join("layer.tar")).expect("the layer");
    of_layer(name, folder)
}

/// The image of the folder's `layer.tar`.
fn of_layer(name: &str, folder: &Scratch) -> PathBuf {
    let layer = digest(&folder.join("layer.tar"));
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000000"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
    });
    folder.file("config.json", &config.to_string());
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    folder.file("manifest.json", &manifest.to_string());
    let path = folder.join("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(folder.path()).arg("-cf").arg(&path);
    run(tar.args(["manifest.json", "config.json", "layer.tar"])).ok();
    path
}

fn digest(file: &Path) -> String {
    let said = run(Command::new("sha256sum").arg(file)).ok().stdout;
    let (digest, _) = said.split_once(' ').expect("a digest and a name");
    digest.to_owned()
}

/// This machine's, in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
