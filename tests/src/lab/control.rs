//! The control plane of a lab: ours in process or as a program, or another's by its address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use serde_json::Value;
use tokio::runtime::Runtime;
use xds_server::control::Access;
use xds_server::{Ca, CaOptions, Control, Kind, MeshConfig, Nack};

use super::cluster::{Cluster, Follower, Key, ObjectsDirectory};
use super::standalone::Standalone;
use super::{HOME, external, plan};

/// A running control plane.
pub struct ControlPlane {
    root: PathBuf,
    token: String,
    ours: Option<Ours>,
    standalone: Option<Standalone>,
}

/// A certificate of the lab's authority with its key, PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The leaf, then any intermediates.
    pub chain: String,
    /// PKCS #8.
    pub key: String,
    /// What other certificates of the lab lead to.
    pub root: String,
}

struct Ours {
    control: Control,
    ca: Ca,
    _runtime: Runtime,
}

impl ControlPlane {
    /// Starts it on the underlay and feeds it the cluster's objects.
    #[track_caller]
    pub(super) fn start(cluster: &Arc<Cluster>) -> Self {
        match env::var(external::SOCKET) {
            Ok(socket) => Self::external(&socket, cluster),
            Err(_) => Self::ours(cluster),
        }
    }

    /// Starts the program on the underlay; `statuses` are the directories that agents write to.
    #[track_caller]
    pub(super) fn standalone_with(cluster: &Arc<Cluster>, statuses: &[PathBuf]) -> Self {
        let root = Path::new(HOME).join("root-cert.pem");
        let standalone = Standalone::start(cluster, ADDRESS, statuses, &root);
        Self { root, token: String::new(), ours: None, standalone: Some(standalone) }
    }

    fn ours(cluster: &Arc<Cluster>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("control-plane")
            .enable_all()
            .build()
            .expect("a runtime for the control plane");
        let mesh = MeshConfig::default();
        let ca = Ca::generate(&mesh.trust_domain, CaOptions::default()).expect("a certificate authority");
        let root = Path::new(HOME).join("root-cert.pem");
        fs::write(&root, ca.root_pem()).expect("write the root certificate");
        let names = ["istiod.istio-system.svc".to_owned(), plan::CONTROL_PLANE.to_string()];
        let tls = ca.server_tls(&names).expect("a certificate for the control plane");
        let token = "the-lab's-own-token".to_owned();
        let (own, identity) = DEDICATED;
        let workloads = [(own.to_owned(), identity.to_owned())].into();
        let access = Access { token: Some(token.clone()), workloads, ..Access::default() };
        let control = Control::with_access(mesh, ca.clone(), access);
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(ADDRESS))
            .unwrap_or_else(|e| panic!("listen on {ADDRESS}: {e}"));
        let serving = control.clone();
        runtime.spawn(async move { serving.serve(listener, Some(tls)).await });
        cluster.follow(Box::new(InProcess(control.clone())));
        Self { root, token, ours: Some(Ours { control, ca, _runtime: runtime }), standalone: None }
    }

    fn external(socket: &str, cluster: &Arc<Cluster>) -> Self {
        external::serve(ADDRESS, Path::new(socket));
        if let Some(folder) = env::var_os(external::OBJECTS) {
            cluster.follow(Box::new(ObjectsDirectory::new(folder.into())));
        }
        let given =
            |key: &str| env::var(key).unwrap_or_else(|_| panic!("{} needs {key} too", external::ADDRESS));
        let token = env::var(external::TOKEN).map(|file| fs::read_to_string(file).expect("the token file"));
        Self {
            root: given(external::ROOT).into(),
            token: token.unwrap_or_else(|_| "none".to_owned()),
            ours: None,
            standalone: None,
        }
    }

    /// Where proxies reach it.
    pub const fn address(&self) -> SocketAddr {
        ADDRESS
    }

    /// The file with the root that its own certificate and those it issues lead to.
    pub fn root_file(&self) -> &Path {
        &self.root
    }

    /// The token that proxies present; empty when they need none.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether it is ours, and its certificate names the lab's address.
    pub const fn is_ours(&self) -> bool {
        self.ours.is_some() || self.standalone.is_some()
    }

    /// The program of a lab that was asked to be [standalone](super::Builder::standalone).
    #[track_caller]
    pub fn standalone(&self) -> &Standalone {
        self.standalone.as_ref().expect("a standalone lab")
    }

    /// Shares the objects with a node's agent, where they are files already.
    pub(super) fn shares(&self, pods: &Path) -> bool {
        self.standalone.as_ref().map(|standalone| standalone.share(pods)).is_some()
    }

    /// What proxies refused so far.
    #[track_caller]
    pub fn nacks(&self) -> Vec<Nack> {
        self.control().nacks()
    }

    /// Issues a certificate to a peer that is no proxy of the lab, such as a waypoint or a raw client.
    #[track_caller]
    pub fn issue(&self, identity: &str) -> Issued {
        let key = rcgen::KeyPair::generate().expect("a key");
        let request = rcgen::CertificateParams::default().serialize_request(&key).expect("a signing request");
        let csr = request.pem().expect("a request as PEM");
        let ca = &self.ours.as_ref().expect("our own control plane").ca;
        let mut chain = ca.sign(&csr, identity, 0).unwrap_or_else(|e| panic!("sign for {identity}: {e}"));
        let root = chain.pop().expect("a root");
        Issued { chain: chain.concat(), key: key.serialize_pem(), root }
    }

    /// The identities it has issued certificates for, in order.
    #[track_caller]
    pub fn signed(&self) -> Vec<String> {
        self.control().signed()
    }

    #[track_caller]
    fn control(&self) -> &Control {
        &self.ours.as_ref().expect("our own control plane").control
    }
}

/// Feeds the control plane in this process.
struct InProcess(Control);

impl Follower for InProcess {
    fn changed(&self, key: &Key, new: Option<&Value>) {
        match new {
            Some(object) => self.0.update(|objects| {
                objects
                    .upsert_yaml(&key.to_string(), &object.to_string())
                    .unwrap_or_else(|e| panic!("{e}: {object:#}"));
            }),
            None => {
                if let Some(kind) = kind(&key.kind) {
                    self.0.update(|objects| {
                        objects.remove(kind, &key.namespace, &key.name);
                    });
                }
            }
        }
    }
}

fn kind(name: &str) -> Option<Kind> {
    use Kind::{
        AuthorizationPolicy, EndpointSlice, MeshResources, Namespace, Node, PeerAuthentication, Pod, Service,
        ServiceAccount,
    };
    let all = [
        Namespace,
        Node,
        Pod,
        Service,
        EndpointSlice,
        ServiceAccount,
        AuthorizationPolicy,
        PeerAuthentication,
        MeshResources,
    ];
    all.into_iter().find(|kind| kind.to_string() == name)
}

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(plan::CONTROL_PLANE), 15012);

/// The token of a workload that runs a proxy of its own, and its identity.
pub const DEDICATED: (&str, &str) =
    ("a-workload's-own-token", "spiffe://cluster.local/ns/default/sa/dedicated");
