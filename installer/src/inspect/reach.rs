//! Which proxy is asked, and the way to it: a file, an address, or its pod by a port-forward.

use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::{self, Answer};
use super::{Error, Which};
use crate::cluster::{Cluster, Selection};
use crate::object::text;
use crate::{Context, object::Id};

/// The admin port of a proxy.
pub(crate) const ADMIN: u16 = 15000;

/// Whose dump to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Standard input.
    Stdin,
    File(PathBuf),
    Address(String),
    Pod {
        name: String,
        namespace: Option<String>,
        port: u16,
    },
    Node {
        name: String,
        port: u16,
    },
    /// Any proxy will do.
    Any {
        port: u16,
    },
    /// Any, if there is only one.
    TheOne {
        port: u16,
    },
}

impl Target {
    /// `of_one` where every proxy knows something else.
    pub(super) fn of(which: Which, of_one: bool) -> Self {
        let port = which.proxy_admin_port;
        match which {
            Which { file: Some(file), .. } if file.as_os_str() == "-" => Self::Stdin,
            Which { file: Some(file), .. } => Self::File(file),
            Which { admin_address: Some(address), .. } => Self::Address(address),
            Which { pod: Some(pod), .. } => {
                let (name, namespace) = named(&pod);
                Self::Pod { name, namespace, port }
            }
            Which { node: Some(name), .. } => Self::Node { name, port },
            Which { .. } if of_one => Self::TheOne { port },
            Which { .. } => Self::Any { port },
        }
    }

    pub(super) async fn dump(&self, context: &Context) -> Result<String, Error> {
        let file = |path: &PathBuf, source| Error::File { path: path.clone(), source };
        let (port, choice) = match self {
            Self::Stdin => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                return read.map(|_| text).map_err(|source| file(&PathBuf::from("-"), source));
            }
            Self::File(path) => return std::fs::read_to_string(path).map_err(|source| file(path, source)),
            Self::Address(address) => return config_dump(&Proxy::at(address)).await,
            Self::Pod { name, namespace, port } => (*port, Choice::Pod(name, namespace.as_deref())),
            Self::Node { name, port } => (*port, Choice::Node(name)),
            Self::Any { port } => (*port, Choice::Any),
            Self::TheOne { port } => (*port, Choice::TheOne),
        };
        let proxies = Proxies::list(context, port).await?;
        config_dump(&proxies.choose(choice).await?).await
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Address(address) => write!(f, "the dump of {address}"),
            Self::Pod { name, .. } => write!(f, "the dump of {name}"),
            Self::Node { name, .. } => write!(f, "the dump of the proxy on {name}"),
            Self::Any { .. } | Self::TheOne { .. } => f.write_str("the proxy's dump"),
        }
    }
}

async fn config_dump(proxy: &Proxy) -> Result<String, Error> {
    let answer = proxy.get("/config_dump").await?;
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    Err(Error::Answer {
        whom: proxy.to_string(),
        path: "/config_dump".to_owned(),
        why: format!("it answers {}", answer.status),
    })
}

/// `pod/name.namespace`, of which the first and the last may be missing.
pub(crate) fn named(text: &str) -> (String, Option<String>) {
    let text = text.strip_prefix("pod/").or_else(|| text.strip_prefix("pods/")).unwrap_or(text);
    // A namespace has no dot in it, and a pod's name may.
    match text.rsplit_once('.') {
        Some((name, namespace)) => (name.to_owned(), Some(namespace.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// One proxy, and the way to it.
#[derive(Clone)]
pub(crate) enum Proxy {
    /// Its admin address.
    Address(String),
    /// Its pod.
    Pod { cluster: Cluster, namespace: String, name: String, port: u16 },
}

impl Proxy {
    pub(crate) fn at(address: &str) -> Self {
        Self::Address(address.to_owned())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Error> {
        let failed = |source| Error::Connect { whom: self.to_string(), source };
        match self {
            Self::Address(address) => {
                let stream = timeout(CONNECT, TcpStream::connect(address)).await;
                let stream =
                    stream.map_err(|late| failed(late.into()))?.map_err(|error| failed(error.into()))?;
                http::get(stream, address, path).await
            }
            Self::Pod { cluster, namespace, name, port, .. } => {
                let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
                let forward = timeout(CONNECT, pods.portforward(name, &[*port])).await;
                let mut forward =
                    forward.map_err(|late| failed(late.into()))?.map_err(|error| failed(error.into()))?;
                let Some(stream) = forward.take_stream(*port) else {
                    return Err(failed("the port-forward has no stream".into()));
                };
                let answer = http::get(stream, &self.to_string(), path).await;
                forward.abort();
                answer
            }
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => f.write_str(address),
            Self::Pod { namespace, name, port, .. } => write!(f, "{name}.{namespace}:{port}"),
        }
    }
}

/// The proxies of a cluster.
pub(crate) struct Proxies {
    cluster: Cluster,
    namespace: String,
    pods: Vec<Value>,
    port: u16,
}

/// Which of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice<'a> {
    Any,
    TheOne,
    Node(&'a str),
    /// A proxy's pod; or any pod, whose node's proxy is then meant.
    Pod(&'a str, Option<&'a str>),
}

impl Proxies {
    /// Those that run in the namespace of istiod.
    pub(crate) async fn list(context: &Context, port: u16) -> Result<Self, Error> {
        let cluster = context.cluster().await?;
        let namespace = context.istio_namespace().to_owned();
        let which = Selection { namespace: Some(&namespace), labels: "app=ztunnel", ..Selection::default() };
        let mut pods = cluster.list("v1", "Pod", which).await?;
        pods.retain(|pod| text(pod, "/status/phase") == "Running");
        Ok(Self { cluster, namespace, pods, port })
    }

    pub(crate) const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The proxy of a node, if one runs there.
    pub(crate) fn on(&self, node: &str) -> Option<Proxy> {
        self.pods.iter().find(|pod| text(pod, "/spec/nodeName") == node).map(|pod| self.proxy(pod))
    }

    /// Any proxy.
    pub(crate) fn any(&self) -> Option<Proxy> {
        self.pods.first().map(|pod| self.proxy(pod))
    }

    async fn choose(&self, choice: Choice<'_>) -> Result<Proxy, Error> {
        let none = |what: String| Error::NoProxy(what);
        let nobody =
            || none(format!("no pod with the label app=ztunnel runs in namespace {}", self.namespace));
        match choice {
            Choice::Any => self.any().ok_or_else(nobody),
            Choice::TheOne => match self.pods.as_slice() {
                [] => Err(nobody()),
                [pod] => Ok(self.proxy(pod)),
                pods => {
                    let mut nodes: Vec<_> =
                        pods.iter().map(|pod| text(pod, "/spec/nodeName").to_owned()).collect();
                    nodes.sort();
                    Err(Error::WhichNode { nodes })
                }
            },
            Choice::Node(node) => self.on(node).ok_or_else(|| none(format!("no proxy runs on node {node}"))),
            Choice::Pod(name, namespace) => {
                let own = namespace.is_none_or(|namespace| namespace == self.namespace);
                let is_it = |pod: &&Value| own && text(pod, "/metadata/name") == name;
                if let Some(pod) = self.pods.iter().find(is_it) {
                    return Ok(self.proxy(pod));
                }
                let id = Id::new("v1", "Pod", namespace.unwrap_or("default"), name);
                let pod = self.cluster.get(&id).await?.ok_or_else(|| none(format!("there is no {id}")))?;
                let node = text(&pod, "/spec/nodeName");
                self.on(node).ok_or_else(|| none(format!("{id} is on node {node:?}, where no proxy runs")))
            }
        }
    }

    fn proxy(&self, pod: &Value) -> Proxy {
        Proxy::Pod {
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            name: text(pod, "/metadata/name").to_owned(),
            port: self.port,
        }
    }
}

const CONNECT: Duration = Duration::from_secs(15);
