//! What a person reads: a head, a table per load, a foot.

use std::fmt;

use super::site::Site;
use super::stats::Spread;
use super::{Args, Load, Sample};

/// Direct TCP and the mesh of one lab, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) direct: Sample,
    pub(super) mesh: Sample,
}

/// All pairs of one load.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) load: Load,
    /// The pairs, one of each site, in the order in which they were measured.
    pub(super) rounds: Vec<Vec<Pair>>,
}

impl Measured {
    /// Nothing yet.
    pub(super) const fn of(load: Load) -> Self {
        Self { load, rounds: Vec::new() }
    }

    /// Adds the pairs of all sites.
    pub(super) fn push(&mut self, pairs: Vec<Pair>) {
        self.rounds.push(pairs);
    }

    /// The pairs of one site.
    fn site(&self, at: usize) -> impl Iterator<Item = &Pair> {
        self.rounds.iter().filter_map(move |round| round.get(at))
    }
}

/// Says what runs where.
pub(super) fn head(args: &Args, sites: &[Site]) {
    for (name, site) in ["mesh", "peer"].iter().zip(sites) {
        let [a, b] = &site.proxies;
        println!("{name:<5} node a: {}   node b: {}", a.display(), b.display());
    }
    println!(
        "{} pairs of {} s on {} CPUs; medians, min..max; ratios are medians of the pairs' ratios",
        args.pairs,
        args.seconds,
        cpus()
    );
}

/// Prints the figures of one load.
pub(super) fn table(measured: &Measured) {
    println!("\n{}", Table(measured));
}

/// Says how far the machine was ours.
pub(super) fn foot(measured: &[Measured]) {
    let pairs = measured.iter().flat_map(|m| m.rounds.iter().flatten());
    let samples = pairs.flat_map(|pair| [pair.direct, pair.mesh]);
    if let Some(spread) = Spread::of(samples.map(|s| s.elsewhere / s.window)) {
        println!(
            "\nneither load nor proxies (other programs, kernel threads): {} of {} CPUs",
            shown(spread),
            cpus()
        );
        if spread.median > BUSY {
            println!(
                "this machine was not idle: trust the CPU times of proxies and load and the ratios, not rates and the machine's"
            );
        }
    }
}

/// The figures of one load.
struct Table<'a>(&'a Measured);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(measured @ Measured { load, rounds: _ }) = self;
        let with_peer = measured.site(1).next().is_some();
        write!(f, "{:<34}{:>26}{:>26}{:>22}", load.name(), "direct", "mesh", "mesh/direct")?;
        if with_peer {
            write!(f, "{:>26}{:>22}", "peer", "mesh/peer")?;
        }
        for figure in Figure::of(*load) {
            write!(f, "\n  {:<32}", figure.name)?;
            let each = |site, of: fn(&Pair) -> &Sample| -> Vec<f64> {
                measured.site(site).map(|pair| (figure.value)(of(pair)) * figure.scale).collect()
            };
            let ours = each(0, |pair| &pair.mesh);
            // A proxy that carries nothing costs nothing.
            let direct = if figure.of_proxies { None } else { Some(each(0, |pair| &pair.direct)) };
            write!(f, "{:>26}", column(direct.as_deref()))?;
            write!(f, "{:>26}", column(Some(&ours)))?;
            write!(f, "{:>22}", ratio(Some(&ours), direct.as_deref()))?;
            if with_peer {
                let peer = each(1, |pair| &pair.mesh);
                write!(f, "{:>26}", column(Some(&peer)))?;
                write!(f, "{:>22}", ratio(Some(&ours), Some(&peer)))?;
            }
        }
        Ok(())
    }
}

/// One line of a table.
struct Figure {
    name: String,
    value: fn(&Sample) -> f64,
    scale: f64,
    of_proxies: bool,
}

impl Figure {
    /// The lines for a load.
    fn of(load: Load) -> Vec<Self> {
        let (rate, rate_scale, cost, cost_scale, latency) = match load {
            Load::Up | Load::Down => ("Gb/s", 8e-9, "CPU s/GiB", GIB, false),
            Load::Requests(_) => ("requests/s", 1.0, "CPU us/request", 1e6, true),
            Load::Connections(_) => ("connections/s", 1.0, "CPU us/connection", 1e6, true),
        };
        let new = |name: &str, value, scale| Self { name: name.to_owned(), value, scale, of_proxies: false };
        let cost_of = |whose: &str, value| Self {
            of_proxies: whose.starts_with("prox"),
            ..new(&format!("{cost}, {whose}"), value, cost_scale)
        };
        let mut figures = vec![new(rate, |s| s.units / s.seconds, rate_scale)];
        if latency {
            figures.push(new("p50 us", |s| s.p50.unwrap_or(f64::NAN), 1e6));
        }
        figures.extend([
            cost_of("proxy a", |s| s.proxies[0] / s.units),
            cost_of("proxy b", |s| s.proxies[1] / s.units),
            cost_of("proxies", |s| (s.proxies[0] + s.proxies[1]) / s.units),
            cost_of("with load", |s| (s.proxies[0] + s.proxies[1] + s.load) / s.units),
            cost_of("machine", |s| s.busy / s.units),
        ]);
        figures
    }
}

fn column(values: Option<&[f64]>) -> String {
    values.and_then(|values| Spread::of(values.iter().copied())).map_or_else(|| "-".to_owned(), shown)
}

fn ratio(of: Option<&[f64]>, to: Option<&[f64]>) -> String {
    let pairs = of.zip(to).map(|(of, to)| of.iter().zip(to).map(|(of, to)| of / to));
    pairs.and_then(Spread::of).map_or_else(|| "-".to_owned(), shown)
}

fn shown(spread: Spread) -> String {
    format!("{} ({}..{})", number(spread.median), number(spread.min), number(spread.max))
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

const GIB: f64 = (1u64 << 30) as f64;
/// CPUs that others may use before the figures suffer.
const BUSY: f64 = 0.1;

#[cfg(test)]
mod tests;
