//! Open connections as a table, with names for addresses.

use serde_json::Value;

use super::dump::{Dump, Filters, Names};
use crate::object::{list, text};
use crate::output::Table;

pub(super) fn table(dump: &Dump, filters: &Filters) -> Table {
    let names = (!filters.raw).then(|| Names::of(dump));
    let tell = |address: &str| match &names {
        Some(names) => names.tell(address),
        None => address.to_owned(),
    };
    let mut table = Table::new(["WORKLOAD", "DIRECTION", "LOCAL", "REMOTE", "REMOTE TARGET", "PROTOCOL"]);
    for state in dump.states(filters) {
        let pod = format!("{}.{}", text(&state, "/info/name"), text(&state, "/info/namespace"));
        for connection in list(&state, "/connections/inbound") {
            let Ends { source, original, actual } = Ends::of(connection);
            table = table.row([
                &pod,
                "Inbound",
                &tell(actual),
                &tell(source),
                original,
                text(connection, "/protocol"),
            ]);
        }
        for connection in list(&state, "/connections/outbound") {
            let Ends { source, original, actual } = Ends::of(connection);
            table = table.row([
                &pod,
                "Outbound",
                &tell(source),
                &tell(actual),
                &tell(original),
                text(connection, "/protocol"),
            ]);
        }
    }
    table
}

/// The addresses of a connection.
struct Ends<'a> {
    source: &'a str,
    /// Where the client wanted to go.
    original: &'a str,
    /// Where the proxy connected to.
    actual: &'a str,
}

impl<'a> Ends<'a> {
    fn of(connection: &'a Value) -> Self {
        Self {
            source: text(connection, "/src"),
            original: text(connection, "/originalDst"),
            actual: text(connection, "/actualDst"),
        }
    }
}
