//! Pods on a containerd of the tests', made as the kubelet makes them.

use std::fs;

use cri_client::Client;
use cri_client::messages::*;

use super::cgroups::View;
use super::containerd::Containerd;
use super::image::{self, IMAGE};
use super::log;
use super::process::{DEADLINE, holds_within, until};
use super::runtime::{Runtime, everywhere_with};
use super::scratch::{self, Scratch};

/// CRI's containerd namespace.
const NAMESPACE: &str = "k8s.io";

/// Every runtime in every view that pods work in: a sandbox has two shares of cpu.
pub fn everywhere() -> impl Iterator<Item = (Runtime, View)> {
    everywhere_with("CRI", |_| Some("cpu"))
}

/// The kubelet's place.
pub struct Cri<'a> {
    containerd: &'a Containerd,
    pub client: Client,
}

impl<'a> Cri<'a> {
    /// The CRI plugin of a containerd that was set up with handlers; its image is there.
    #[track_caller]
    pub fn of(containerd: &'a Containerd) -> Self {
        containerd.import(NAMESPACE, image::archive());
        let client = Client::new(&containerd.socket());
        let mut last = None;
        let known = holds_within(DEADLINE, || {
            last = Some(client.has_image(IMAGE));
            matches!(last, Some(Ok(true)))
        });
        assert!(known, "no CRI with the image: {last:?}: {}", containerd.words());
        Self { containerd, client }
    }

    /// A pod whose sandbox runs, with these annotations.
    #[track_caller]
    pub fn pod(&self, handler: &str, annotations: &[(&str, &str)]) -> Pod<'_> {
        let logs = Scratch::new("logs");
        let config = self.config(&logs, annotations);
        let id = self.client.run_pod(&config, handler).expect("a pod");
        Pod {
            cri: self,
            id,
            config,
            logs,
        }
    }

    fn config(&self, logs: &Scratch, annotations: &[(&str, &str)]) -> PodSandboxConfig {
        let name = format!("pod-{}", scratch::number());
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                uid: format!("{name}-uid"),
                name,
                namespace: "default".to_owned(),
            }),
            log_directory: logs.path().display().to_string(),
            annotations: annotations
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.containerd.cgroup_parent(),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(host_network()),
                }),
            }),
        }
    }
}

/// No CNI: the pod has the host's network.
fn host_network() -> NamespaceOption {
    NamespaceOption {
        network: NODE,
        pid: 1,
        ipc: 0,
    }
}

/// A pod; when this is dropped it is gone, with its containers.
pub struct Pod<'a> {
    cri: &'a Cri<'a>,
    pub id: String,
    config: PodSandboxConfig,
    logs: Scratch,
}

impl Pod<'_> {
    /// A container of this name that runs a script; its id, or what the kubelet would tell.
    pub fn create(&self, name: &str, script: &str) -> anyhow::Result<String> {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.to_owned(),
                attempt: scratch::number(),
            }),
            image: Some(ImageSpec {
                image: IMAGE.to_owned(),
            }),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            log_path: log_path(name),
            linux: Some(LinuxContainerConfig {
                security_context: Some(LinuxContainerSecurityContext {
                    capabilities: Some(Capability {
                        add_capabilities: vec!["MKNOD".to_owned()],
                    }),
                    namespace_options: Some(host_network()),
                }),
            }),
        };
        self.cri.client.create(&self.id, &config, &self.config)
    }

    /// Creates and starts; the container's id, or what the kubelet would tell.
    pub fn run(&self, name: &str, script: &str) -> anyhow::Result<String> {
        let id = self.create(name, script)?;
        self.cri.client.start(&id)?;
        Ok(id)
    }

    /// What a container of this name wrote to its standard output so far.
    pub fn stdout(&self, name: &str) -> String {
        let log = fs::read_to_string(self.logs.join(log_path(name))).unwrap_or_default();
        log::said(&log)
    }

    /// Waits for a container's end; its exit code.
    #[track_caller]
    pub fn await_end(&self, container: &str) -> i32 {
        let status = || self.cri.client.status(container).expect("a container");
        until("a container's end", || status().state() == ContainerState::Exited);
        status().exit_code
    }
}

fn log_path(name: &str) -> String {
    format!("{name}.log")
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // The service may be gone, and with it the pod.
        let _ = self.cri.client.stop_pod(&self.id);
        let _ = self.cri.client.remove_pod(&self.id);
    }
}
