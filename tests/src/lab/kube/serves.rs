//! What an API server is there for, and so whom it knows and what it is told to do.

use std::net::Ipv4Addr;
use std::path::Path;

/// What a server is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Serves {
    /// Objects alone: the lab is kubelet and controller where one is needed.
    Objects,
    /// The kubelets of these nodes, kube-proxies, a scheduler and a controller manager.
    Cluster(Vec<String>),
}

impl Serves {
    /// The file of the tokens that it takes: each with a user and the user's group.
    pub(super) fn tokens(&self) -> String {
        let administrator = (ADMINISTRATOR.to_owned(), "lab".to_owned(), "system:masters");
        let mut users = vec![administrator];
        if let Self::Cluster(nodes) = self {
            users.extend(nodes.iter().map(|node| {
                let user = format!("system:node:{node}");
                (token(&user), user, "system:nodes")
            }));
            users.extend(COMPONENTS.map(|user| (token(user), user.to_owned(), "system:authenticated")));
        }
        users.iter().map(|(token, user, group)| format!("{token},{user},{user},{group}\n")).collect()
    }

    /// The flags that differ.
    pub(super) fn flags(&self, home: &Path) -> Vec<String> {
        let file = |name: &str| home.join(name).display().to_string();
        match self {
            Self::Objects => [
                "--authorization-mode=RBAC",
                // Accounts are mounted by the lab, which is their kubelet too.
                "--disable-admission-plugins=ServiceAccount",
                "--endpoint-reconciler-type=none",
            ]
            .map(str::to_owned)
            .into(),
            Self::Cluster(_) => [
                "--authorization-mode=Node,RBAC".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                "--allow-privileged=true".to_owned(),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                // It runs on no node, so that addresses of services mean nothing to it: it asks for their endpoints.
                "--enable-aggregator-routing=true".to_owned(),
                format!("--client-ca-file={}", file("ca.pem")),
                format!("--kubelet-client-certificate={}", file("kubelet-client.pem")),
                format!("--kubelet-client-key={}", file("kubelet-client.key.pem")),
            ]
            .into(),
        }
    }
}

/// The token of a user; nobody else reads the lab's files.
pub(super) fn token(user: &str) -> String {
    format!("token-of-{}", user.replace(':', "-"))
}

/// The token of the lab itself.
pub(super) const ADMINISTRATOR: &str = "the-lab-is-the-administrator";
pub(super) const CONTROLLERS: &str = "system:kube-controller-manager";
pub(super) const SCHEDULER: &str = "system:kube-scheduler";
pub(super) const PROXY: &str = "system:kube-proxy";
const COMPONENTS: [&str; 3] = [CONTROLLERS, SCHEDULER, PROXY];
/// Of services.
pub(super) const SERVICES: &str = "10.97.0.0/16";
/// Of the service by which pods reach the server: the first of [`SERVICES`].
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);
/// By which they may call it.
pub(super) const NAMES: [&str; 4] =
    ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
