//! An agent as the DaemonSet runs it: in a root of its own, the node's directories under `/host`, its settings from the
//! environment that the chart gives it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tests::lab::http;
use tests::lab::kube::tool;
use tests::lab::{Lab, Node, Process, Program, binaries, within};

/// Who owns the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// istio-cni, as Istio's own source builds it.
    Istio,
    /// adit-node-agent.
    Ours,
}

/// The agents of one node, one after the other.
pub(crate) struct Agents {
    node: Arc<Node>,
    env: Vec<(String, String)>,
    confs: PathBuf,
    bins: PathBuf,
    started: u32,
}

impl Agents {
    /// For a node whose runtime reads these folders.
    #[track_caller]
    pub(crate) fn of(lab: &Lab, node: &Arc<Node>, confs: PathBuf, bins: PathBuf) -> Self {
        // So that a container hears of the namespaces that a runtime makes later.
        for args in [["--bind", "/run/netns", "/run/netns"].as_slice(), &["--make-shared", "/run/netns"]] {
            let status = Command::new("mount").args(args).status().expect("start mount");
            assert!(status.success(), "mount {args:?}: {status}");
        }
        let server = lab.kubernetes().address();
        let env = [
            ("KUBERNETES_SERVICE_HOST", server.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", server.port().to_string()),
            ("NODE_NAME", node.name().to_owned()),
            ("POD_NAME", "istio-cni-node-abcde".to_owned()),
            ("POD_NAMESPACE", "istio-system".to_owned()),
            ("SYSTEM_NAMESPACE", "istio-system".to_owned()),
            ("AMBIENT_ENABLED", "true".to_owned()),
            ("AMBIENT_ENABLEMENT_SELECTOR", SELECTOR.to_owned()),
            ("AMBIENT_DNS_CAPTURE", "true".to_owned()),
            ("AMBIENT_IPV6", "true".to_owned()),
            ("AMBIENT_RECONCILE_POD_RULES_ON_STARTUP", "true".to_owned()),
            // A node of the lab has no first process of its own: its agent is in its namespace already.
            ("ALLOW_SWITCH_TO_HOST_NS", "false".to_owned()),
            ("CHAINED_CNI_PLUGIN", "true".to_owned()),
            ("EXCLUDE_NAMESPACES", "kube-system".to_owned()),
            ("REPAIR_ENABLED", "false".to_owned()),
            ("ZTUNNEL_UDS_ADDRESS", node.home().join("ztunnel.sock").display().to_string()),
        ];
        let env = env.map(|(key, value)| (key.to_owned(), value)).into();
        Self { node: Arc::clone(node), env, confs, bins, started: 0 }
    }

    /// Starts an agent and waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn start(&mut self, owner: Owner) -> Process {
        self.started += 1;
        let root = self.node.home().join(format!("container-{}", self.started));
        let image = self.node.home().join(format!("image-{}", self.started));
        let (program, plugin) = match owner {
            Owner::Istio => (tool("install-cni"), tool("istio-cni")),
            Owner::Ours => (binaries::find("adit-node-agent"), binaries::find("adit-cni")),
        };
        fs::create_dir_all(&root).expect("a root");
        fs::create_dir_all(&image).expect("the image's plugins");
        fs::copy(&plugin, image.join(plugin.file_name().expect("a name"))).expect("the plugin in the image");
        let script = root.with_extension("sh");
        fs::write(&script, include_str!("container.sh")).expect("the script");
        let name = format!("{owner:?}-{}", self.started).to_lowercase();
        let program = Program::new("unshare")
            .args(["--mount", "--propagation", "slave", "bash"])
            .arg(script)
            .args([&root, &self.confs, &self.bins, &image, &program]);
        let program = self.env.iter().fold(program, |program, (key, value)| program.env(key, value));
        let program = match owner {
            Owner::Istio => program.args(["--log_output_level=default:info,cni-agent:debug"]),
            Owner::Ours => program.env("PROC_ROOT", "/host/proc").env("HEALTH_ADDR", "127.0.0.1:8000"),
        };
        let agent = program.start(&name, self.node.netns(), &self.node.home().join(format!("{name}.log")));
        within(STARTS, format_args!("{name} is ready"), || {
            agent.assert_running();
            match http::get(self.node.netns(), ([127, 0, 0, 1], 8000).into(), "/readyz")? {
                (200, _) => Ok(()),
                (status, body) => {
                    Err(format!("{status} {}\n{}", body.trim(), tests::lab::process::tail(&agent.log(), 12)))
                }
            }
        });
        agent
    }

    /// The types of the plugins that the runtime would call.
    pub(crate) fn chain(&self) -> Vec<String> {
        let first = first_conflist(&self.confs);
        let list: serde_json::Value =
            serde_json::from_slice(&fs::read(&first).expect("a conflist")).expect("JSON");
        let plugins = list["plugins"].as_array().cloned().unwrap_or_default();
        plugins.iter().map(|plugin| plugin["type"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The file that a runtime takes of a folder.
fn first_conflist(folder: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder of conflists")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "conflist" || e == "conf"))
        .collect();
    files.sort();
    files.into_iter().next().expect("a conflist")
}

/// The default of Istio's chart.
const SELECTOR: &str = "
- podSelector:
    matchLabels: {istio.io/dataplane-mode: ambient}
- podSelector:
    matchExpressions:
    - {key: istio.io/dataplane-mode, operator: NotIn, values: [none]}
  namespaceSelector:
    matchLabels: {istio.io/dataplane-mode: ambient}
";
const STARTS: std::time::Duration = std::time::Duration::from_secs(60);
