//! The command line: flags that all commands have, and one line for each command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::output::{Color, Wanted};
use crate::{
    Context, Error, Exit, check, docs, inspect, install, status, template, uninstall, upgrade, version, why,
};

/// Installs, upgrades, checks and explains Adit, the node data plane of an Istio ambient mesh.
#[derive(Debug, Parser)]
#[command(name = "adit", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = EXIT_CODES)]
pub struct Cli {
    /// Flags that all commands have.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that all commands have.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The kubeconfig; as kubectl's: else $KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace of istiod and of the node components
    #[arg(long, short = 'i', global = true, value_name = "NAMESPACE", default_value = "istio-system")]
    pub istio_namespace: String,
    /// How results are written to standard output
    #[arg(long = "output", short = 'o', global = true, value_enum, default_value_t)]
    pub format: Wanted,
    /// Whether to use colors
    #[arg(long, global = true, value_enum, default_value_t)]
    pub color: Color,
    /// Say more of what is asked of the cluster (-vv, -vvv: still more)
    #[arg(long, short = 'v', global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upgrade node by node, a canary first; stops on a node that fails
    Upgrade(Box<upgrade::Args>),
    /// Install node proxies and agents, or change what is installed: shows the plan first
    Install(Box<install::Args>),
    /// Take every pod out of the mesh and remove what was installed, or put back what that replaced
    Uninstall(uninstall::Args),
    /// Whether each node's proxy and agent work, and what they wait for
    Status(status::Args),
    /// Whether the cluster can take the mesh, and whether the mesh works: run it before and after an installation
    Check(check::Args),
    /// What a chart renders to, without Helm and without a cluster
    Template(Box<template::Args>),
    /// What a node's proxy or agent knows, as `istioctl ztunnel-config` shows it
    Inspect(inspect::Args),
    /// Which way a connection takes, who decides about it, and what would have to change
    Why(why::Args),
    /// The script by which a shell completes what is typed
    Completions(docs::CompletionsArgs),
    /// Manual pages, one for each command
    Man(docs::ManArgs),
    /// The version of this tool, and those in the cluster
    Version(version::Args),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// The command could not do what was asked.
    pub async fn run(self, context: &Context) -> Result<Exit, Error> {
        match self {
            Self::Upgrade(args) => Ok(Box::pin(upgrade::run(*args, context)).await?),
            Self::Install(args) => Ok(Box::pin(install::run(*args, context)).await?),
            Self::Uninstall(args) => Ok(Box::pin(uninstall::run(args, context)).await?),
            Self::Status(args) => Ok(Box::pin(status::run(args, context)).await?),
            Self::Check(args) => Box::pin(check::run(args, context)).await,
            Self::Template(args) => template::run(*args, context).await,
            Self::Inspect(args) => Ok(inspect::run(args, context).await?),
            Self::Why(args) => Ok(Box::pin(why::run(args, context)).await?),
            Self::Completions(args) => Ok(docs::completions(&args, context)),
            Self::Man(args) => Ok(docs::man(&args, context)?),
            Self::Version(args) => version::run(args, context).await,
        }
    }
}

/// As [`Exit::meaning`] has it; a test holds the two together.
const EXIT_CODES: &str = "\
Exit codes:
  0  what was asked is done
  1  it failed, or a check found errors
  2  the command line or a given file cannot be used
  3  a person said no, or somebody else owns what would have to change
  4  what was waited for did not come in time";

#[cfg(test)]
mod tests;
