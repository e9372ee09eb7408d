//! What a container is to have seen: its own device, computing, and nothing of anybody else's.

use std::collections::BTreeSet;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::machine::{Device, said};

/// CUDA's answer that there is no GPU (`CUDA_ERROR_NO_DEVICE`).
const NO_DEVICE: i64 = 100;

/// What the program in the container said.
#[derive(Deserialize)]
struct Seen {
    sees: Sees,
    cuda: Cuda,
}

#[derive(Deserialize)]
struct Sees {
    dev: Vec<String>,
    caps: Vec<String>,
    gpus: Vec<String>,
    proc: bool,
    variable: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Cuda {
    Failed {
        failed: String,
        code: Option<i64>,
        why: Option<String>,
    },
    Computed {
        devices: u32,
        name: String,
        uuid: String,
        memory_mib: u64,
        multiprocessors: u32,
        computed: u32,
        wrong: u32,
    },
}

/// `nvidia-smi -L` lists the device that the container asked for, and no other.
pub fn nvidia_smi(device: &Device, output: &Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "nvidia-smi in a container: {}",
        said(output)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let own = BTreeSet::from([device.name.as_str(), device.gpu_uuid.as_str()]);
    ensure!(
        uuids(&text) == own,
        "nvidia-smi in a container lists others, or not its own: {text}"
    );
    Ok(text.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}

/// The UUIDs in nvidia-smi's list: `(UUID: MIG-...)`.
fn uuids(text: &str) -> BTreeSet<&str> {
    let after = text.split("(UUID: ").skip(1);
    after.filter_map(|rest| rest.split(')').next()).collect()
}

/// CUDA finds that device, and no other, and it computes what is right.
pub fn cuda(device: &Device, output: &Output) -> Result<String> {
    let seen = seen(output)?;
    sees_its_own(device, &seen.sees)?;
    match seen.cuda {
        Cuda::Failed { failed, code, why } => anyhow::bail!(
            "CUDA in a container: {failed} gave {} {}",
            code.map_or(String::new(), |code| code.to_string()),
            why.unwrap_or_default()
        ),
        Cuda::Computed {
            devices,
            name,
            uuid,
            memory_mib,
            multiprocessors,
            computed,
            wrong,
        } => {
            ensure!(devices == 1, "CUDA in a container finds {devices} devices");
            ensure!(
                device.name.ends_with(&uuid),
                "CUDA in a container finds {uuid}, not {}",
                device.name
            );
            ensure!(wrong == 0, "{wrong} of {computed} values are wrong");
            Ok(format!(
                "{name}, {memory_mib} MiB, {multiprocessors} multiprocessors: {computed} values computed, all right"
            ))
        }
    }
}

/// Where no GPU is: the driver's libraries and programs are in the container and load, and it is they who say so.
pub fn without_gpu(device: &Device, smi: &Output, cuda: &Output) -> Result<String> {
    let text = said(smi);
    ensure!(
        !smi.status.success() && text.contains("NVIDIA-SMI has failed"),
        "nvidia-smi in a container was to say that there is no GPU: {text}"
    );
    let seen = seen(cuda)?;
    sees_its_own(device, &seen.sees)?;
    match seen.cuda {
        Cuda::Failed {
            failed,
            code: Some(NO_DEVICE),
            ..
        } if failed == "cuInit" => {
            Ok("nvidia-smi and CUDA start in a container, and say that there is none".to_owned())
        }
        _ => anyhow::bail!(
            "CUDA in a container was to say that there is no GPU: {}",
            said(cuda)
        ),
    }
}

fn seen(output: &Output) -> Result<Seen> {
    ensure!(
        output.status.success(),
        "the program in the container: {}",
        said(output)
    );
    serde_json::from_slice(&output.stdout).with_context(|| said(output))
}

/// Nodes, the variable, and /proc/driver/nvidia, where that is shown.
fn sees_its_own(device: &Device, sees: &Sees) -> Result<()> {
    let is_gpu = |name: &&String| {
        name.strip_prefix("nvidia")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let gpus = sees.dev.iter().filter(is_gpu).count();
    ensure!(
        gpus == 1,
        "a container has the nodes of {gpus} GPUs: {:?}",
        sees.dev
    );
    for name in ["nvidiactl", "nvidia-uvm"] {
        ensure!(
            sees.dev.iter().any(|node| node == name),
            "a container has no {name}: {:?}",
            sees.dev
        );
    }
    let caps = if device.is_whole() { 0 } else { 2 };
    ensure!(
        sees.caps.len() == caps,
        "a container has {:?}, not {caps} capabilities",
        sees.caps
    );
    let variable = sees.variable.as_deref();
    ensure!(
        variable == Some(&device.name),
        "NVIDIA_VISIBLE_DEVICES is {variable:?}"
    );
    ensure!(
        !sees.proc || sees.gpus.len() == 1,
        "a container sees others in /proc/driver/nvidia/gpus: {:?}",
        sees.gpus
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        Device {
            name: "MIG-74b49a94-0380-531b-97e5-52652ba9f0bb".to_owned(),
            profile: "1g.10gb".to_owned(),
            gpu: 0,
            gpu_uuid: "GPU-45d15fcb-f0c8-2fb1-eeac-e0cad1e3a049".to_owned(),
        }
    }

    fn output(text: &str) -> Output {
        Output {
            status: Default::default(),
            stdout: text.as_bytes().to_vec(),
            stderr: Vec::new(),
        }
    }

    #[test]
    fn nvidia_smi_is_to_list_its_own_device_alone() {
        let own = "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-45d15fcb-f0c8-2fb1-eeac-e0cad1e3a049)\n  \
                   MIG 1g.10gb     Device  0: (UUID: MIG-74b49a94-0380-531b-97e5-52652ba9f0bb)\n";
        assert!(nvidia_smi(&device(), &output(own)).unwrap().contains("Device  0"));
        let other =
            format!("{own}  MIG 1g.10gb     Device  1: (UUID: MIG-00000000-0000-5000-8000-000000000000)\n");
        let error = nvidia_smi(&device(), &output(&other)).unwrap_err();
        assert!(error.to_string().contains("lists others"), "{error}");
        let alone = own.lines().next().unwrap();
        assert!(
            nvidia_smi(&device(), &output(alone)).is_err(),
            "its own is missing"
        );
    }

    /// What the program says that finds all in order, with one thing changed.
    fn says(change: impl Fn(&mut serde_json::Value)) -> Output {
        let mut said = serde_json::json!({
            "sees": {
                "dev": ["nvidia-caps", "nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidiactl"],
                "caps": ["nvidia-cap12", "nvidia-cap13"],
                "gpus": ["0000:07:00.0"],
                "proc": true,
                "variable": device().name,
            },
            "cuda": {
                "devices": 1, "name": "NVIDIA A100", "uuid": "74b49a94-0380-531b-97e5-52652ba9f0bb",
                "memory_mib": 9984, "multiprocessors": 14, "computed": 4, "wrong": 0,
            },
        });
        change(&mut said);
        output(&said.to_string())
    }

    #[test]
    fn cuda_is_to_compute_on_its_own_device_and_see_no_other() {
        let right = cuda(&device(), &says(|_| {})).unwrap();
        assert!(
            right.contains("9984 MiB, 14 multiprocessors: 4 values computed"),
            "{right}"
        );
        type Change = fn(&mut serde_json::Value);
        let wrong: [(Change, &str); 8] = [
            (|said| said["cuda"]["devices"] = 2.into(), "finds 2 devices"),
            (|said| said["cuda"]["wrong"] = 1.into(), "1 of 4 values are wrong"),
            (|said| said["cuda"]["uuid"] = "45d1".into(), "not MIG-"),
            (
                |said| said["cuda"] = serde_json::json!({"failed": "cuInit", "code": 999}),
                "cuInit gave 999",
            ),
            (
                |said| said["sees"]["caps"] = serde_json::json!(["nvidia-cap1"]),
                "not 2 capabilities",
            ),
            (
                |said| said["sees"]["dev"][0] = "nvidia1".into(),
                "nodes of 2 GPUs",
            ),
            (
                |said| said["sees"]["gpus"] = serde_json::json!(["a", "b"]),
                "sees others in /proc",
            ),
            (
                |said| said["sees"]["variable"] = "all".into(),
                "NVIDIA_VISIBLE_DEVICES is",
            ),
        ];
        for (change, why) in wrong {
            let error = cuda(&device(), &says(change)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
