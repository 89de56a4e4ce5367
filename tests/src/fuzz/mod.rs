//! Every parser of a peer's bytes as a function of those bytes, with what must hold whatever they are.
//!
//! `make test` gives each target its corpus and some thousand mutations of it; `make fuzz` lets libFuzzer look for more.

pub mod corpus;
mod discovery;
mod dns;
mod headers;
mod judge;
mod node;
mod tls;
mod tunnel;

/// A parser, and the corpus folder of its name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Parses the bytes; panics when a promise does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "authority", run: headers::authority },
    Target { name: "baggage", run: headers::baggage },
    Target { name: "forwarded", run: headers::forwarded },
    Target { name: "traceparent", run: headers::traceparent },
    Target { name: "identity", run: headers::identity },
    Target { name: "proxy_header", run: headers::proxy_header },
    Target { name: "tunnel_server", run: tunnel::server },
    Target { name: "tunnel_client", run: tunnel::client },
    Target { name: "tls_server", run: tls::server },
    Target { name: "certificate", run: tls::certificate },
    Target { name: "crl", run: tls::revocations },
    Target { name: "address", run: discovery::address },
    Target { name: "authorization", run: judge::authorization },
    Target { name: "discovery", run: discovery::response },
    Target { name: "dns", run: dns::message },
    Target { name: "zds_request", run: node::zds_request },
    Target { name: "zds_answer", run: node::zds_answer },
    Target { name: "plugin_event", run: node::plugin_event },
    Target { name: "plugin_outcome", run: node::plugin_outcome },
    Target { name: "cni_stdin", run: node::cni_stdin },
    Target { name: "log_filter", run: node::log_filter },
];

/// The target of this name.
pub fn named(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
