//! The kubelet's side of CRI v1, as far as the tests need it: pods and containers, made, looked into and ended.
//!
//! ```text
//! grpc.rs      one call over HTTP/2 on a Unix socket
//! messages.rs  the messages, with those fields that the tests set or read
//! lib.rs       the calls by name
//! ```
//!
//! h2 and prost, no more: a whole gRPC stack and generated code are three times as much to build, and want protoc.

#![forbid(unsafe_code)]

mod grpc;
pub mod messages;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use messages::*;

/// One CRI service. Each call has a connection of its own, so a service that was started again needs no new client.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Whether the service knows an image by this name; an error where it doesn't answer.
    pub fn has_image(&self, image: &str) -> Result<bool> {
        let request = ImageStatusRequest {
            image: Some(ImageSpec {
                image: image.to_owned(),
            }),
        };
        let answer: ImageStatusResponse = self.call("ImageService/ImageStatus", &request)?;
        Ok(answer.image.is_some())
    }

    /// The pod's sandbox, running; its id.
    pub fn run_pod(&self, config: &PodSandboxConfig, handler: &str) -> Result<String> {
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: handler.to_owned(),
        };
        let answer: PodSandboxId = self.call("RuntimeService/RunPodSandbox", &request)?;
        Ok(answer.pod_sandbox_id)
    }

    /// A container of that pod; its id.
    pub fn create(&self, pod: &str, config: &ContainerConfig, of: &PodSandboxConfig) -> Result<String> {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config.clone()),
            sandbox_config: Some(of.clone()),
        };
        let answer: ContainerId = self.call("RuntimeService/CreateContainer", &request)?;
        Ok(answer.container_id)
    }

    pub fn start(&self, container: &str) -> Result<()> {
        let Empty {} = self.call("RuntimeService/StartContainer", &ContainerId::of(container))?;
        Ok(())
    }

    /// SIGTERM, and SIGKILL after that many seconds.
    pub fn stop(&self, container: &str, timeout: i64) -> Result<()> {
        let request = StopContainerRequest {
            container_id: container.to_owned(),
            timeout,
        };
        let Empty {} = self.call("RuntimeService/StopContainer", &request)?;
        Ok(())
    }

    pub fn remove(&self, container: &str) -> Result<()> {
        let Empty {} = self.call("RuntimeService/RemoveContainer", &ContainerId::of(container))?;
        Ok(())
    }

    pub fn status(&self, container: &str) -> Result<ContainerStatus> {
        let answer: ContainerStatusResponse =
            self.call("RuntimeService/ContainerStatus", &ContainerId::of(container))?;
        answer.status.context("an answer without a status")
    }

    /// Standard output of a command inside the container; an error where the command fails.
    pub fn exec(&self, container: &str, command: &[&str]) -> Result<String> {
        let request = ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: command.iter().map(ToString::to_string).collect(),
            timeout: 30,
        };
        let answer: ExecSyncResponse = self.call("RuntimeService/ExecSync", &request)?;
        let [stdout, stderr] =
            [&answer.stdout, &answer.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        ensure!(
            answer.exit_code == 0,
            "{command:?}: exit code {}: {stderr}",
            answer.exit_code
        );
        Ok(stdout)
    }

    /// Ends the pod and its containers.
    pub fn stop_pod(&self, pod: &str) -> Result<()> {
        let Empty {} = self.call("RuntimeService/StopPodSandbox", &PodSandboxId::of(pod))?;
        Ok(())
    }

    /// Removes the pod with its containers.
    pub fn remove_pod(&self, pod: &str) -> Result<()> {
        let Empty {} = self.call("RuntimeService/RemovePodSandbox", &PodSandboxId::of(pod))?;
        Ok(())
    }

    fn call<Answer: prost::Message + Default>(
        &self,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<Answer> {
        grpc::call(&self.socket, &format!("/runtime.v1.{method}"), request).with_context(|| method.to_owned())
    }
}
