//! The few calls of the Container Runtime Interface (`runtime.v1`) by which a kubelet makes and ends sandboxes and their
//! containers. The numbers are those of Kubernetes' `cri-api`.

pub(crate) mod container;

use std::collections::HashMap;
use std::path::Path;

use prost::Message;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use container::{
    ContainerConfig, ContainerStatusResponse, CreateContainerRequest, ExecSyncRequest, ExecSyncResponse,
};

/// A connection to a container runtime.
pub(super) struct Cri {
    grpc: tonic::client::Grpc<Channel>,
}

/// A pod to make a sandbox for.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Metadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
    #[prost(uint32, tag = "4")]
    pub(super) attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<Metadata>,
    #[prost(string, tag = "2")]
    pub(super) hostname: String,
    #[prost(string, tag = "3")]
    pub(super) log_directory: String,
    #[prost(message, optional, tag = "8")]
    pub(super) linux: Option<Linux>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Linux {
    #[prost(string, tag = "1")]
    pub(super) cgroup_parent: String,
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

/// An answer or a question that is a sandbox's name alone.
#[derive(Clone, PartialEq, Eq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct StatusRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<SandboxStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct SandboxStatus {
    #[prost(message, optional, tag = "5")]
    network: Option<Network>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Network {
    #[prost(string, tag = "1")]
    ip: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Nothing {}

/// What a runtime says of a sandbox that it made.
#[derive(Debug, Clone)]
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) ip: String,
    /// Where its network is mounted.
    pub(super) network: String,
    /// As it was asked for: its containers are made with that again.
    pub(super) config: PodSandboxConfig,
}

impl Cri {
    /// Connects to the runtime that listens on `socket`.
    pub(super) async fn connect(socket: &Path) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(told)?;
        let channel = endpoint.connect().await.map_err(told)?;
        Ok(Self { grpc: tonic::client::Grpc::new(channel) })
    }

    /// Makes a sandbox; the error is the runtime's message.
    pub(super) async fn run(&mut self, config: PodSandboxConfig) -> Result<Sandbox, String> {
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let made: Id = self.call("RunPodSandbox", request).await?;
        let question = StatusRequest { id: made.id.clone(), verbose: true };
        let said: StatusResponse = self.call("PodSandboxStatus", question).await?;
        let ip = said.status.and_then(|status| status.network).map(|network| network.ip).unwrap_or_default();
        let info = document(&said.info)?;
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().cloned().unwrap_or_default();
        let network = namespaces.iter().find(|namespace| namespace["type"] == "network");
        let network =
            network.and_then(|namespace| namespace["path"].as_str()).ok_or("no network in the info")?;
        Ok(Sandbox { id: made.id, ip, network: network.to_owned(), config })
    }

    /// Makes a container in a sandbox and starts it; answers its name.
    pub(super) async fn start(
        &mut self,
        sandbox: &Sandbox,
        config: ContainerConfig,
    ) -> Result<String, String> {
        let request = CreateContainerRequest {
            sandbox: sandbox.id.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox.config.clone()),
        };
        let made: Id = self.call("CreateContainer", request).await?;
        self.call::<_, Nothing>("StartContainer", made.clone()).await?;
        Ok(made.id)
    }

    /// What the runtime was told to run, unless that has ended.
    pub(super) async fn running(&mut self, container: &str) -> Result<Value, String> {
        let question = StatusRequest { id: container.to_owned(), verbose: true };
        let said: ContainerStatusResponse = self.call("ContainerStatus", question).await?;
        match said.status {
            Some(status) if status.state == RUNNING => Ok(document(&said.info)?["runtimeSpec"].take()),
            Some(status) => Err(format!("state {}, exit code {}", status.state, status.exit_code)),
            None => Err("no status".to_owned()),
        }
    }

    /// Runs a program in a container; answers what it prints when it succeeds.
    pub(super) async fn exec(&mut self, container: &str, command: Vec<String>) -> Result<String, String> {
        let request = ExecSyncRequest { container: container.to_owned(), command, seconds: 30 };
        let said: ExecSyncResponse = self.call("ExecSync", request).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if said.exit_code == 0 { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) }
    }

    /// Stops a sandbox, its network with it, and removes it.
    pub(super) async fn remove(&mut self, id: &str) -> Result<(), String> {
        let id = || Id { id: id.to_owned() };
        self.call::<_, Nothing>("StopPodSandbox", id()).await?;
        self.call::<_, Nothing>("RemovePodSandbox", id()).await.map(drop)
    }

    async fn call<Q, A>(&mut self, method: &str, question: Q) -> Result<A, String>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.grpc.ready().await.map_err(told)?;
        let path = format!("/runtime.v1.RuntimeService/{method}").parse().map_err(told)?;
        let codec = tonic_prost::ProstCodec::<Q, A>::default();
        let answer = self.grpc.unary(tonic::Request::new(question), path, codec).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
    }
}

/// What a runtime tells besides the interface's own fields.
fn document(info: &HashMap<String, String>) -> Result<Value, String> {
    serde_json::from_str(info.get("info").ok_or("no info")?).map_err(told)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

const RUNNING: i32 = 1;
