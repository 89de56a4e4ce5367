//! The labels of the agent's metrics: one a family, and an enum of its values.

use prometheus_client::encoding::EncodeLabelSet;

/// How an installation of the plugin and its configuration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstallResult {
    Success,
    CopyBinaries,
    CreateKubeconfig,
    CreateConfig,
}

/// What the source of pods said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reconciled {
    Add,
    Update,
    Delete,
}

/// Where a selected pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PodState {
    Enrolled,
    /// Selected, not enrolled yet.
    Pending,
    /// Said to be enrolled, and not proved since.
    Unproved,
    /// Its network namespace is not known.
    WithoutNetns,
}

/// What is done for a pod, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Find,
    Redirect,
    Release,
    Unredirect,
    Announce,
    Retract,
    Exempt,
    Record,
    Measure,
    /// Send a canary connection.
    Prove,
    /// Keep the pod's record for the next agent.
    Save,
    /// Refuse what would leave the pod past the proxy.
    Refuse,
    /// End that.
    Allow,
}

/// What an enrolled pod's measurement found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The namespace is not the sandbox's any more.
    Netns,
    Rules,
    /// No proxy acknowledged this namespace.
    Acknowledged,
    /// A connection from inside did not land on the proxy.
    Canary,
}

/// What a plugin asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Add,
    Delete,
    Check,
    Collect,
    Status,
}

/// How a plugin's call was answered; istio-cni's label is that of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Done,
    Malformed,
    Failed,
}

/// Why a caller got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnedAway {
    NotRoot,
    Silent,
}

/// Why a proxy's answer is none that serves a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckError {
    Refused,
    /// It came too late or not at all, and ended the connection.
    TimedOut,
    /// It is none of the protocol, and ended the connection.
    Broken,
}

/// What a person should look at although the node is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Degraded {
    NoProxy,
    PodsPending,
}

impl Degraded {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NoProxy, Self::PodsPending];

    pub(super) const fn label(self) -> DegradedLabel {
        let why = match self {
            Self::NoProxy => "no_proxy",
            Self::PodsPending => "pods_pending",
        };
        DegradedLabel { why }
    }
}

impl InstallResult {
    pub(super) const fn label(self) -> InstallResultLabel {
        let result = match self {
            Self::Success => "SUCCESS",
            Self::CopyBinaries => "COPY_BINARIES_FAILURE",
            Self::CreateKubeconfig => "CREATE_KUBECONFIG_FAILURE",
            Self::CreateConfig => "CREATE_CNI_CONFIG_FAILURE",
        };
        InstallResultLabel { result }
    }
}

impl Reconciled {
    pub(super) const fn label(self) -> ReconciledLabel {
        let r#type = match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Delete => "delete",
        };
        ReconciledLabel { r#type }
    }
}

impl PodState {
    pub(super) const fn label(self) -> PodStateLabel {
        let state = match self {
            Self::Enrolled => "enrolled",
            Self::Pending => "pending",
            Self::Unproved => "unproved",
            Self::WithoutNetns => "without_netns",
        };
        PodStateLabel { state }
    }
}

impl Step {
    pub(super) const fn label(self) -> StepLabel {
        let step = match self {
            Self::Find => "find",
            Self::Redirect => "redirect",
            Self::Release => "release",
            Self::Unredirect => "unredirect",
            Self::Announce => "announce",
            Self::Retract => "retract",
            Self::Exempt => "exempt",
            Self::Record => "record",
            Self::Measure => "measure",
            Self::Prove => "prove",
            Self::Save => "save",
            Self::Refuse => "refuse",
            Self::Allow => "allow",
        };
        StepLabel { step }
    }
}

impl Proof {
    pub(super) const fn label(self) -> ProofLabel {
        let kind = match self {
            Self::Netns => "netns",
            Self::Rules => "rules",
            Self::Acknowledged => "acknowledged",
            Self::Canary => "canary",
        };
        ProofLabel { kind }
    }
}

impl Call {
    pub(super) const fn label(self) -> CallLabel {
        let call = match self {
            Self::Add => "add",
            Self::Delete => "delete",
            Self::Check => "check",
            Self::Collect => "collect",
            Self::Status => "status",
        };
        CallLabel { call }
    }
}

impl Code {
    pub(super) const fn label(self) -> CodeLabel {
        let response_code = match self {
            Self::Done => "200",
            Self::Malformed => "400",
            Self::Failed => "500",
        };
        CodeLabel { response_code }
    }
}

impl TurnedAway {
    pub(super) const fn label(self) -> TurnedAwayLabel {
        let why = match self {
            Self::NotRoot => "not_root",
            Self::Silent => "silent",
        };
        TurnedAwayLabel { why }
    }
}

impl AckError {
    pub(super) const fn label(self) -> AckErrorLabel {
        let why = match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
        };
        AckErrorLabel { why }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct InstallResultLabel {
    result: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReconciledLabel {
    r#type: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PodStateLabel {
    state: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StepLabel {
    step: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProofLabel {
    kind: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabel {
    call: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CodeLabel {
    response_code: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TurnedAwayLabel {
    why: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AckErrorLabel {
    why: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DegradedLabel {
    why: &'static str,
}
