//! The side-by-side meter: direct TCP, the mesh, and the mesh of another proxy, measured in turns in one run.
//!
//! Each implementation has a lab of its own, in a process of its own (a [`site`]), and all labs stay up during the run. This
//! process orders one leg at a time and writes the table. Figures of two runs do not compare; ratios of one run do.

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
    /// Measures of each kind; every one is a pair of direct TCP and the mesh.
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
/// # Errors
/// When a lab cannot be built, or a load fails in it.
pub fn run(args: &Args) -> Result<(), SiteError> {
    let mut sites = vec![Site::start("ours", None)?];
    if let Some(peer) = &args.peer {
        sites.push(Site::start("peer", Some(peer))?);
    }
    report::head(args, &sites);
    let mut measured = Vec::new();
    for load in Load::ALL.into_iter().filter(|load| load.name().contains(&args.only)) {
        measured.push(measure(args, load, &mut sites)?);
        if let Some(last) = measured.last() {
            report::table(last);
        }
    }
    report::foot(&measured);
    Ok(())
}

/// All pairs of one load, after one of each that does not count.
fn measure(args: &Args, load: Load, sites: &mut [Site]) -> Result<Measured, SiteError> {
    let mut measured = Measured { load, sites: vec![Vec::new(); sites.len()] };
    for turn in 0..=args.pairs {
        let warm_up = turn == 0;
        let seconds = if warm_up { args.seconds.min(0.3) } else { args.seconds };
        let bytes = if warm_up { args.bytes.min(32 << 20) } else { args.bytes };
        let mut order: Vec<_> =
            (0..sites.len()).flat_map(|at| [Way::Direct, Way::Mesh].map(|way| (at, way))).collect();
        // A B B A: what drifts during the run meets both sides alike.
        if turn % 2 == 0 {
            order.reverse();
        }
        let mut samples = vec![(None, None); sites.len()];
        for (at, way) in order {
            let sample = sites[at].run(&Leg { way, load, seconds, bytes })?;
            match way {
                Way::Direct => samples[at].0 = Some(sample),
                Way::Mesh => samples[at].1 = Some(sample),
            }
        }
        for (pairs, sample) in measured.sites.iter_mut().zip(samples) {
            if let ((Some(direct), Some(mesh)), false) = (sample, warm_up) {
                pairs.push(Pair { direct, mesh });
            }
        }
    }
    Ok(measured)
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
