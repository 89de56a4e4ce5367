//! Native nftables: one transaction for each pod, and comparing what is there with what the same program prints of the
//! same plan.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::drift::Finding;
use crate::error::{RedirectError, Trial};
use crate::netns;
use crate::nfnetlink;
use crate::plan::Plan;
use crate::program::{find, run};
use crate::refusal;
use crate::render;
use crate::rule::{Family, Table};
use crate::traces::Traces;

/// The `nft` program of this node. Clones share what they have learnt.
#[derive(Debug, Clone)]
pub struct Nftables {
    program: PathBuf,
    v6: Result<(), Trial>,
    /// What the program prints of a plan by the plan's hash: versions of it print the same rule in different words.
    printed: Arc<Mutex<BTreeMap<u64, Tables>>>,
}

/// What was printed of each table of ours that exists, by name.
type Tables = BTreeMap<&'static str, String>;

impl Nftables {
    /// Loads everything that any pod may want into a namespace made for that.
    pub(crate) fn try_out() -> Result<Self, Trial> {
        let failed = |why: String| Trial { program: "nft".to_owned(), why };
        let program = find("nft").ok_or_else(|| failed("not installed".to_owned()))?;
        let new = Self { program, v6: Ok(()), printed: Arc::default() };
        let attempt = |families: &[Family]| {
            let plan = crate::plan::everything().only(families);
            new.print(&plan).map(drop).map_err(|error| failed(error.to_string()))
        };
        match attempt(&Family::ALL) {
            Ok(()) => Ok(new),
            Err(both) => {
                attempt(&[Family::V4])?;
                Ok(Self { v6: Err(both), ..new })
            }
        }
    }

    /// Why IPv6 rules cannot be loaded, if they cannot.
    pub(crate) fn v6(&self) -> Result<(), &Trial> {
        self.v6.as_ref().copied()
    }

    /// One transaction, unless all is as planned already.
    pub(crate) fn load(&self, plan: &Plan, traces: &Traces) -> Result<(), RedirectError> {
        if !traces.native().is_empty() && self.drift(plan, traces)?.is_empty() {
            return Ok(());
        }
        self.feed(&render::nft::nft_transaction(plan))
    }

    pub(crate) fn drift(&self, plan: &Plan, traces: &Traces) -> Result<Vec<Finding>, RedirectError> {
        let found = if traces.native().is_empty() { Tables::new() } else { self.list()? };
        Ok(compare(&self.print(plan)?, &found))
    }

    /// Refuses what would leave the pod past the proxy.
    pub(crate) fn refuse(&self) -> Result<(), RedirectError> {
        self.feed(&refusal::nft_transaction())
    }

    /// What the program prints of the plan, from a namespace where nothing else is.
    fn print(&self, plan: &Plan) -> Result<Tables, RedirectError> {
        let hash = plan.hash();
        if let Some(known) = self.printed.lock().get(&hash) {
            return Ok(known.clone());
        }
        let tables = netns::in_new_netns(|| {
            self.feed(&render::nft::nft_transaction(plan))?;
            self.list()
        })??;
        let mut printed = self.printed.lock();
        if printed.len() >= PLANS {
            printed.clear();
        }
        printed.insert(hash, tables.clone());
        Ok(tables)
    }

    fn feed(&self, transaction: &str) -> Result<(), RedirectError> {
        run(&self.program, &["-f", "-"], Some(transaction)).map(drop)
    }

    /// Other families are not asked for: some programs fail on rules that others have written.
    fn list(&self) -> Result<Tables, RedirectError> {
        run(&self.program, &["-s", "list", "ruleset", "inet"], None).map(|text| tables(&text))
    }
}

/// Takes tables of ours away; needs no program. What goes meanwhile is no error.
pub(crate) fn unload(
    mut traces: Traces,
    tables: impl Fn(&Traces) -> Vec<&'static str>,
) -> Result<(), RedirectError> {
    let mut outcome = Ok(());
    for _ in 0..ATTEMPTS {
        outcome = nfnetlink::delete_tables(&tables(&traces));
        if outcome.is_ok() {
            break;
        }
        traces = Traces::read()?;
    }
    outcome
}

/// The tables of ours in what was printed, each with its lines.
fn tables(text: &str) -> Tables {
    let mut tables = Tables::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("table inet ").and_then(|rest| rest.split(' ').next()) {
            current = Table::ALL.into_iter().map(Table::nft_name).find(|ours| *ours == name);
        }
        if let Some(name) = current {
            let lines: &mut String = tables.entry(name).or_default();
            lines.push_str(line.trim());
            lines.push('\n');
        }
        if line.starts_with('}') {
            current = None;
        }
    }
    tables
}

fn compare(wanted: &Tables, found: &Tables) -> Vec<Finding> {
    let finding = |table: Table| match (wanted.get(table.nft_name()), found.get(table.nft_name())) {
        (Some(wanted), Some(found)) => (wanted != found).then_some(Finding::TableDiffers(table)),
        (Some(_), None) => Some(Finding::TableMissing(table)),
        (None, Some(_)) => Some(Finding::TableStray(table)),
        (None, None) => None,
    };
    Table::ALL.into_iter().filter_map(finding).collect()
}

/// Pods differ in few ways.
const PLANS: usize = 64;
const ATTEMPTS: usize = 2;
