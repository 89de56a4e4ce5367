//! The side-by-side meter: direct TCP, the mesh, and the mesh of another proxy, measured in turns in one run.
//!
//! Each implementation has a lab of its own, in a process of its own (a [`site`]); the labs of one round stand side by side.
//! This process orders one leg at a time and writes the table. Figures of two runs do not compare; ratios of one run do.

mod cpu;
mod load;
mod report;
mod server;
pub mod site;
mod stats;

use std::path::PathBuf;

use clap::Parser;
use serde::{Deserialize, Serialize};

use report::{Measured, Pair};
use site::{Site, SiteError};

/// What the mesh costs: CPU per GiB, per request and per connection, beside direct TCP in the same run.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Rounds: in each, labs are built anew and every measure is taken once, of direct TCP and of the mesh.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Bytes of one bulk transfer, such as 256MiB; a leg makes at least one.
    #[arg(long, default_value = "256MiB", value_parser = bytes)]
    bytes: u64,
    /// How long a leg lasts.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Only the measures whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
    /// Another ztunnel-compatible proxy, measured beside the first, on both nodes of a second lab.
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
    /// Serve one lab; for this program itself.
    #[arg(long, hide = true)]
    pub site: bool,
}

/// What a pair of pods does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Load {
    /// One connection and as many bytes as it carries, from client to server.
    Up,
    /// The same from server to client.
    Down,
    /// 1 KiB there and 1 KiB back, again and again, on so many open connections.
    Requests(u32),
    /// Connect, 1 KiB there and 1 KiB back, close, from so many workers.
    Connections(u32),
}

impl Load {
    const ALL: [Self; 6] = [
        Self::Up,
        Self::Down,
        Self::Requests(1),
        Self::Requests(8),
        Self::Requests(64),
        Self::Connections(8),
    ];

    /// What a person calls it.
    fn name(self) -> String {
        match self {
            Self::Up => "bulk up, 1 stream".to_owned(),
            Self::Down => "bulk down, 1 stream".to_owned(),
            Self::Requests(1) => "requests of 1 KiB, 1 stream".to_owned(),
            Self::Requests(streams) => format!("requests of 1 KiB, {streams} streams"),
            Self::Connections(workers) => format!("new connection per request, {workers} workers"),
        }
    }
}

/// Which pair of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    /// Pods outside the mesh.
    Direct,
    /// Enrolled pods.
    Mesh,
}

/// One leg, as a site is told to run it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Leg {
    way: Way,
    load: Load,
    seconds: f64,
    bytes: u64,
}

/// What one leg came to. Times are seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Sample {
    /// How long the load ran.
    seconds: f64,
    /// Bytes, requests or connections.
    units: f64,
    /// The median of a request's or connection's duration.
    p50: Option<f64>,
    /// CPU time of the proxies of node a and of node b.
    proxies: [f64; 2],
    /// CPU time of clients and servers, their share of the kernel's work included.
    load: f64,
    /// CPU time of the whole machine.
    busy: f64,
    /// CPU time of neither proxies nor load: other programs, kernel threads.
    elsewhere: f64,
    /// How long the CPU times above were taken over.
    window: f64,
}

/// Measures everything that was asked for and prints it.
///
/// Every round has labs of its own and takes one pair of each load: what a lab keeps for as long as it lives, such as
/// tunnels and where their threads run, differs from pair to pair instead of favoring one side in all of them.
///
/// # Errors
/// When a lab cannot be built, or a load fails in it.
pub fn run(args: &Args) -> Result<(), SiteError> {
    let loads = Load::ALL.into_iter().filter(|load| load.name().contains(&args.only));
    let mut all: Vec<_> = loads.map(Measured::of).collect();
    for round in 0..args.pairs {
        eprintln!("round {} of {}", round + 1, args.pairs);
        let mut sites = vec![Site::start("ours", None)?];
        if let Some(peer) = &args.peer {
            sites.push(Site::start("peer", Some(peer))?);
        }
        if round == 0 {
            report::head(args, &sites);
        }
        for measured in &mut all {
            let load = measured.load;
            let warm_up = Leg {
                way: Way::Direct,
                load,
                seconds: args.seconds.min(0.2),
                bytes: args.bytes.min(32 << 20),
            };
            pair(&warm_up, round, &mut sites)?;
            let leg = Leg { seconds: args.seconds, bytes: args.bytes, ..warm_up };
            measured.push(pair(&leg, round, &mut sites)?);
        }
    }
    all.iter().for_each(report::table);
    report::foot(&all);
    Ok(())
}

/// One leg of direct TCP and one of the mesh in every lab.
fn pair(leg: &Leg, round: u32, sites: &mut [Site]) -> Result<Vec<Pair>, SiteError> {
    let mut order: Vec<_> =
        (0..sites.len()).flat_map(|at| [Way::Direct, Way::Mesh].map(|way| (at, way))).collect();
    // A B, then B A: what drifts during the run meets both sides alike.
    if round % 2 == 1 {
        order.reverse();
    }
    let mut samples = vec![(None, None); sites.len()];
    for (at, way) in order {
        let sample = Some(sites[at].run(&Leg { way, ..*leg })?);
        match way {
            Way::Direct => samples[at].0 = sample,
            Way::Mesh => samples[at].1 = sample,
        }
    }
    Ok(samples.into_iter().filter_map(|(direct, mesh)| Some(Pair { direct: direct?, mesh: mesh? })).collect())
}

/// Reads a number of bytes, with or without a unit.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let found = units.iter().find_map(|(unit, shift)| text.strip_suffix(unit).map(|n| (n, *shift)));
    let (number, shift) = found.unwrap_or((text, 0));
    let number: u64 = number.trim().parse().map_err(|e| format!("{text:?}: {e}"))?;
    number.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(|| format!("{text:?} is none or too many"))
}

fn seconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|e| format!("{text:?}: {e}"))?;
    if number > 0.0 && number <= 3600.0 { Ok(number) } else { Err("between 0 and 3600".to_owned()) }
}

#[cfg(test)]
mod tests;
