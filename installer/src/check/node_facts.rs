//! What `adit-node-agent facts` says of a node, as far as it is judged here.

use serde::Deserialize;

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct NodeFacts {
    /// The shape of the document.
    pub(super) format: u32,
    /// The node's clock, in milliseconds since 1970.
    pub(super) clock_ms: u64,
    /// This machine's clock when the document was read.
    #[serde(skip)]
    pub(super) read_at: i64,
    /// The kernel's release.
    pub(super) kernel: String,
    /// `v2`, `v1` or `hybrid`.
    pub(super) cgroups: String,
    /// Each way to redirect pods.
    pub(super) redirection: Vec<Tried>,
    /// The one that the agent would take.
    pub(super) chosen: Outcome,
    /// How kubelet's probes would get past the proxy.
    pub(super) probes: Outcome,
    /// The directory of network configurations.
    pub(super) cni: Cni,
    /// The directories of plugins.
    pub(super) binaries: Vec<Binaries>,
    /// Limits of the kernel.
    pub(super) limits: Limits,
    /// Programs that guard the host's rules.
    pub(super) firewalls: Vec<String>,
}

/// A way to load rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Tried {
    /// Its name.
    pub(super) backend: String,
    /// For IPv4.
    pub(super) works: bool,
    /// For IPv6.
    pub(super) ipv6: bool,
    /// What stands in the way.
    pub(super) why: Option<String>,
}

/// What a choice led to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Outcome {
    /// None where nothing will do.
    pub(super) backend: Option<String>,
    /// For people.
    pub(super) why: String,
}

/// A directory of network configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Cni {
    /// Whether it is there.
    pub(super) exists: bool,
    /// Every file.
    pub(super) files: Vec<String>,
    /// The file whose chain is joined.
    pub(super) primary: Option<String>,
    /// The plugins in it.
    pub(super) plugins: Vec<String>,
    /// Why it cannot be joined.
    pub(super) trouble: Option<String>,
}

/// A directory of plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Binaries {
    /// As the probe sees it.
    pub(super) dir: String,
    /// Whether it is there.
    pub(super) exists: bool,
    /// What is in it.
    pub(super) programs: Vec<String>,
}

/// Limits of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Limits {
    /// How many inotify instances one user may have.
    pub(super) inotify_instances: Option<u64>,
}

impl NodeFacts {
    /// Finds the document in a pod's log.
    ///
    /// # Errors
    /// There is none, or none of a shape that this version reads.
    pub(super) fn parse(log: &str) -> Result<Self, String> {
        let line = log.lines().rfind(|line| line.starts_with('{'));
        let line = line.ok_or_else(|| format!("the probe said nothing but {:?}", last(log)))?;
        let facts: Self =
            serde_json::from_str(line).map_err(|error| format!("the probe's answer is not read: {error}"))?;
        if facts.format != FORMAT {
            return Err(format!("the probe answers in format {}, this version reads {FORMAT}", facts.format));
        }
        Ok(facts)
    }
}

fn last(log: &str) -> &str {
    log.lines().next_back().unwrap_or_default()
}

const FORMAT: u32 = 1;
