//! What a proxy was told, as tables: workloads, services and policies.

use serde_json::Value;

use super::dump::{Dump, Filters, without_network};
use crate::object::{list, text};
use crate::output::{Style, Table};

pub(super) fn workloads(dump: &Dump, filters: &Filters) -> Table {
    let mut table = Table::new(["NAMESPACE", "POD NAME", "ADDRESS", "NODE", "WAYPOINT", "PROTOCOL"]);
    for workload in dump.workloads(filters) {
        let addresses = list(workload, "/workloadIps").iter().filter_map(Value::as_str);
        table.push(row([
            text(workload, "/namespace"),
            text(workload, "/name"),
            &addresses.collect::<Vec<_>>().join(","),
            text(workload, "/node"),
            &waypoint(dump, workload),
            text(workload, "/protocol"),
        ]));
    }
    table
}

pub(super) fn services(dump: &Dump, filters: &Filters) -> Table {
    let mut table = Table::new(["NAMESPACE", "SERVICE NAME", "SERVICE VIP", "WAYPOINT", "ENDPOINTS"]);
    for service in dump.services(filters) {
        let vips = list(service, "/vips").iter().filter_map(Value::as_str).map(without_network);
        let endpoints: Vec<_> = service
            .get("endpoints")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|all| all.values())
            .collect();
        // A dump that tells no health tells healthy endpoints only.
        let healthy = |endpoint: &&&Value| matches!(text(endpoint, "/status"), "Healthy" | "");
        let counts = (endpoints.iter().filter(healthy).count(), endpoints.len());
        let style = match counts {
            (0, _) => Style::Warning,
            _ => Style::Plain,
        };
        let mut cells = row([
            text(service, "/namespace"),
            text(service, "/name"),
            &vips.collect::<Vec<_>>().join(","),
            &waypoint(dump, service),
        ]);
        cells.push((style, format!("{}/{}", counts.0, counts.1)));
        table.push(cells);
    }
    table
}

pub(super) fn policies(dump: &Dump, filters: &Filters) -> Table {
    let mut table = Table::new(["NAMESPACE", "POLICY NAME", "ACTION", "SCOPE"]);
    for policy in dump.policies(filters) {
        let fields = ["/namespace", "/name", "/action", "/scope"];
        table.push(row(fields.map(|field| text(policy, field))));
    }
    table
}

/// The waypoint by its name: that of the service which it is reached by, where one is known.
fn waypoint(dump: &Dump, of: &Value) -> String {
    let destination = text(of, "/waypoint/destination");
    if destination.is_empty() {
        return "None".to_owned();
    }
    let is_it = |service: &&Value| {
        let name = format!("{}/{}", text(service, "/namespace"), text(service, "/hostname"));
        name == destination || list(service, "/vips").iter().any(|vip| vip.as_str() == Some(destination))
    };
    match dump.services(&Filters::default()).into_iter().find(is_it) {
        Some(service) => text(service, "/name").to_owned(),
        None => destination.to_owned(),
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<(Style, String)> {
    cells.map(|cell| (Style::Plain, cell.to_owned())).into()
}
