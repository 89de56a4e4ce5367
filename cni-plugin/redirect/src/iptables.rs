//! Which iptables programs to use, and running them.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::RedirectError;
use crate::netns;
use crate::observe::Observed;
use crate::plan::{DnsListeners, PodOverrides, Settings, plan};
use crate::render;
use crate::rule::Family;

/// The two ways into the kernel that iptables has, and whatever the distribution made the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// `iptables-legacy`.
    Legacy,
    /// `iptables-nft`.
    Nft,
    /// `iptables`.
    Plain,
}

impl Variant {
    const fn infix(self) -> &'static str {
        match self {
            Self::Legacy => "-legacy",
            Self::Nft => "-nft",
            Self::Plain => "",
        }
    }
}

/// The programs that work on this node; found once and then used for every pod.
#[derive(Debug, Clone)]
pub struct Iptables {
    variant: Variant,
    v4: Programs,
    v6: Result<Programs, Vec<Trial>>,
}

/// A variant that was tried, and why it will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The program.
    pub program: String,
    /// What went wrong.
    pub why: String,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.program, self.why)
    }
}

#[derive(Debug, Clone)]
struct Programs {
    restore: PathBuf,
    save: PathBuf,
}

impl Iptables {
    /// Finds programs that can load our rules, by loading them into a network namespace made for that. Legacy is
    /// taken when this namespace (the node's, for an agent) holds legacy rules, nft otherwise, as istio-cni does:
    /// rules of both kinds in one namespace would act twice. `forced` leaves no choice. Blocking.
    ///
    /// # Errors
    ///
    /// [`RedirectError::NoIptables`], which says what to install.
    pub fn detect(forced: Option<Variant>) -> Result<Self, RedirectError> {
        let order = match forced {
            Some(variant) => vec![variant],
            None if legacy_in_use() => vec![Variant::Legacy, Variant::Nft, Variant::Plain],
            None => vec![Variant::Nft, Variant::Legacy, Variant::Plain],
        };
        let mut tried = Vec::new();
        for variant in order {
            match Programs::try_out(variant, Family::V4) {
                Ok(v4) => {
                    let v6 = Programs::try_out(variant, Family::V6).map_err(|trial| vec![trial]);
                    return Ok(Self { variant, v4, v6 });
                }
                Err(trial) => tried.push(trial),
            }
        }
        Err(RedirectError::NoIptables { tried })
    }

    /// Which one was found.
    #[must_use]
    pub const fn variant(&self) -> Variant {
        self.variant
    }

    /// Whether IPv6 rules can be loaded.
    #[must_use]
    pub const fn ipv6(&self) -> bool {
        self.v6.is_ok()
    }

    /// What iptables-save prints in the namespace of the calling thread.
    pub(crate) fn save(&self, family: Family) -> Result<String, RedirectError> {
        run(&self.programs(family)?.save, &[], None)
    }

    /// Feeds iptables-restore in the namespace of the calling thread. Each table is taken whole or not at all.
    pub(crate) fn restore(&self, family: Family, payload: &str) -> Result<(), RedirectError> {
        restore(&self.programs(family)?.restore, payload)
    }

    fn programs(&self, family: Family) -> Result<&Programs, RedirectError> {
        match family {
            Family::V4 => Ok(&self.v4),
            Family::V6 => {
                self.v6.as_ref().map_err(|tried| RedirectError::NoIp6tables { tried: tried.clone() })
            }
        }
    }
}

impl Programs {
    fn find(variant: Variant, family: Family) -> Option<Self> {
        let stem = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let find = |job: &str| find(&format!("{stem}{}-{job}", variant.infix()));
        Some(Self { restore: find("restore")?, save: find("save")? })
    }

    fn try_out(variant: Variant, family: Family) -> Result<Self, Trial> {
        let failed = |why: String| {
            let stem = if family == Family::V4 { "iptables" } else { "ip6tables" };
            Trial { program: format!("{stem}{}-restore", variant.infix()), why }
        };
        let programs = Self::find(variant, family).ok_or_else(|| failed("not installed".to_owned()))?;
        let everything = plan(
            &Settings { ipv6: true, dns: true, ..Settings::default() },
            &PodOverrides {
                virtual_interfaces: vec!["lo".parse().map_err(|e| failed(format!("{e}")))?],
                ..PodOverrides::default()
            },
            DnsListeners::ALL,
        );
        netns::in_new_netns(|| {
            restore(&programs.restore, &render::iptables_restore(&everything, family, &Observed::default()))?;
            run(&programs.save, &[], None)
        })
        .and_then(|outcome| outcome)
        .map_err(|error| failed(error.to_string()))?;
        Ok(programs)
    }
}

fn restore(program: &Path, payload: &str) -> Result<(), RedirectError> {
    run(program, &["--noflush", "--wait", LOCK_WAIT_SECONDS], Some(payload)).map(drop)
}

/// Whether the namespace of the calling thread holds rules that only iptables-legacy sees.
fn legacy_in_use() -> bool {
    [Family::V4, Family::V6].into_iter().any(|family| {
        Programs::find(Variant::Legacy, family)
            .and_then(|programs| run(&programs.save, &[], None).ok())
            .is_some_and(|saved| saved.lines().any(|line| line.starts_with("-A ")))
    })
}

/// The agent's PATH need not hold the system's programs.
fn find(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin", "/usr/local/bin"]
        .into_iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

fn run(program: &Path, arguments: &[&str], input: Option<&str>) -> Result<String, RedirectError> {
    let spawned = |source| RedirectError::Spawn { program: program.display().to_string(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(spawned)?;
    // A program that gives up early closes its input; what it then says on stderr is the better error.
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
        let _ = pipe.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(spawned)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(RedirectError::Command {
        program: program.display().to_string(),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Legacy programs share one lock in the agent's container.
const LOCK_WAIT_SECONDS: &str = "30";
