//! `adit why SOURCE DESTINATION[:PORT]`: which way a connection takes, who decides about it, and what would have to change.
//!
//! Nothing is decided here. The source's proxy is asked for the route and the destination's for its policies, both by their
//! `/why`; this puts the answers together.

use serde_json::Value;

use crate::inspect::reach::{ADMIN, Proxies, Proxy};
use crate::object::text;
use crate::output::Format;
use crate::{Context, Exit};

mod ends;
mod error;
mod story;

pub use error::Error;

use ends::{Destination, Source};
use story::Story;

/// Between whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Who connects: NAME[.NAMESPACE] of a pod, KIND/NAME[.NAMESPACE] of what has pods, or an address
    #[arg(value_name = "SOURCE")]
    source: String,
    /// To whom: a service's name as the source would use it, pod/NAME[.NAMESPACE], or an address; with a port, unless the
    /// service has only one
    #[arg(value_name = "DESTINATION[:PORT]")]
    destination: String,
    /// The namespace of names that have none
    #[arg(long, short = 'n', value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// A proxy that is reached without a cluster: of the source's node, then, where that is another, of the destination's
    #[arg(long, value_name = "HOST:PORT", num_args = 1, action = clap::ArgAction::Append)]
    admin_address: Vec<String>,
    /// The proxies' admin port in their pods
    #[arg(long, value_name = "PORT", default_value_t = ADMIN)]
    proxy_admin_port: u16,
}

/// Tells.
///
/// # Errors
/// Nobody of such a name is known, or no proxy can be asked.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let source = Source::parse(&args.source, &args.namespace)?;
    let destination = Destination::parse(&args.destination)?;
    let asked = if args.admin_address.is_empty() {
        through_the_cluster(&args, context, source, destination).await?
    } else {
        let near = args.admin_address.first().map(|address| Proxy::at(address));
        let far = args.admin_address.last().map(|address| Proxy::at(address));
        let port = destination.port.ok_or_else(|| Error::Port(args.destination.clone()))?;
        let question = Question { source: source.for_proxy()?, destination: destination.host, port };
        let near = near.as_ref().ok_or(Error::NoProxy)?;
        let told = question.ask(near, "").await?;
        let onward = match (far, next(&told)) {
            (Some(far), Some(next)) => Some(next.ask(&far).await?),
            _ => None,
        };
        Story { told, onward }
    };
    match context.output.format() {
        Format::Json => context.output.json(&asked.json()),
        Format::Table | Format::Short => {
            for line in asked.lines() {
                context.output.line(format_args!("{}", context.output.paint(line.style, &line.text)));
            }
        }
    }
    Ok(if asked.is_allowed() { Exit::Done } else { Exit::Failed })
}

async fn through_the_cluster(
    args: &Args,
    context: &Context,
    source: Source,
    destination: Destination,
) -> Result<Story, Error> {
    let proxies = Proxies::list(context, args.proxy_admin_port).await?;
    let found = source.find(proxies.cluster()).await?;
    let destination = destination.find(proxies.cluster(), &found.namespace, &args.destination).await?;
    let question = Question { source: found.source, destination: destination.host, port: destination.port };
    // Every proxy knows everybody, but for what its own control plane has yet to tell it.
    let near = found.node.as_deref().and_then(|node| proxies.on(node)).or_else(|| proxies.any());
    let near = near.ok_or(Error::NoProxy)?;
    let told = question.ask(&near, "").await?;
    let onward = match next(&told) {
        Some(next) => match proxies.on(&next.node) {
            Some(far) => Some(next.ask(&far).await?),
            None => None,
        },
        None => None,
    };
    Ok(Story { told, onward })
}

/// What is asked of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    source: String,
    /// As in a URL, without the port.
    destination: String,
    port: u16,
}

impl Question {
    /// `rest` is more of the query.
    async fn ask(&self, proxy: &Proxy, rest: &str) -> Result<Value, Error> {
        let Self { source, destination, port } = self;
        let path = format!("/why?source={source}&destination={destination}:{port}{rest}");
        let answer = proxy.get(&path).await?;
        let whom = proxy.to_string();
        match answer.status.as_u16() {
            200 => serde_json::from_str(&answer.body).map_err(|source| Error::NotJson { whom, source }),
            400 | 404 if answer.body.contains("GET /why") => {
                // The rest is for who asks by hand.
                Err(Error::Refused { whom, why: answer.body.lines().next().unwrap_or_default().to_owned() })
            }
            404 => Err(Error::TooOld { whom }),
            status => Err(Error::Status { whom, status }),
        }
    }
}

/// What the destination's proxy is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Next {
    node: String,
    question: Question,
    rest: String,
}

impl Next {
    async fn ask(&self, proxy: &Proxy) -> Result<Value, Error> {
        self.question.ask(proxy, &self.rest).await
    }
}

/// Whose word counts about policies: that of the proxy which guards the end, where another was asked.
fn next(told: &Value) -> Option<Next> {
    let workload = told.pointer("/end/workload")?;
    if text(told, "/end/guard") != "proxy" || text(workload, "/proxy") != "Elsewhere" {
        return None;
    }
    let target: std::net::SocketAddr = text(told, "/end/connection/target").parse().ok()?;
    let identity = text(told, "/end/connection/identity");
    let rest = match text(told, "/end/arrives") {
        "tunnel" => format!("&identity={identity}"),
        _ => "&arrives=plain".to_owned(),
    };
    let destination = match target.ip() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let source = text(told, "/source/address").to_owned();
    let question = Question { source, destination, port: target.port() };
    Some(Next { node: text(workload, "/node").to_owned(), question, rest })
}

#[cfg(test)]
mod tests;
