//! What the proxies said, put together: one story for people, one document for programs.

use serde_json::{Value, json};

use crate::object::{list, number, text};
use crate::output::Style;

/// The answers.
#[derive(Clone, Debug)]
pub(super) struct Story {
    /// Of the source's proxy.
    pub(super) told: Value,
    /// Of the destination's, where that is another.
    pub(super) onward: Option<Value>,
}

/// A line, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) style: Style,
    pub(super) text: String,
}

impl Story {
    /// Whose word counts about the end.
    fn end(&self) -> &Value {
        self.onward.as_ref().unwrap_or(&self.told)
    }

    /// `allowed`, `refused` or `open`: a route that is refused stays so, and the end is for who guards it to say.
    fn verdict(&self) -> &str {
        match text(&self.told, "/route/kind") {
            "refused" => "refused",
            _ => text(self.end(), "/verdict"),
        }
    }

    pub(super) fn is_allowed(&self) -> bool {
        self.verdict() == "allowed"
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "verdict": self.verdict(),
            "reason": self.end().get("reason"),
            "source": self.told.get("source"),
            "destination": self.told.get("destination"),
            "route": self.told.get("route"),
            "end": self.end().get("end"),
            "change": self.end().get("change"),
            "asked": {
                "route": self.told.get("node"),
                "policies": self.end().get("node"),
            },
            "disagree": self.disagreement(),
        })
    }

    /// Two proxies that were told different things answer differently, for as long as a push is on its way.
    fn disagreement(&self) -> Option<String> {
        let onward = self.onward.as_ref()?;
        let (near, far) = (text(&self.told, "/verdict"), text(onward, "/verdict"));
        (near != far).then(|| {
            format!(
                "the proxy on {} would say {near}, that on {} says {far}: one of them has not been told everything",
                text(&self.told, "/node"),
                text(onward, "/node"),
            )
        })
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = Lines::default();
        let (style, word) = match self.verdict() {
            "allowed" => (Style::Good, "allowed"),
            "refused" => (Style::Bad, "refused"),
            _ => (Style::Warning, "not for the proxies alone to say"),
        };
        let reason = match text(self.end(), "/reason") {
            "" => String::new(),
            reason => format!(" ({reason})"),
        };
        lines.styled(
            style,
            format!("{} -> {}: {word}{reason}", self.source(), text(&self.told, "/destination")),
        );
        lines.heading("Route");
        self.route(&mut lines);
        lines.heading("Policy");
        self.policy(&mut lines);
        let changes = list(self.end(), "/change");
        if !changes.is_empty() {
            let opposite = if self.is_allowed() { "refused" } else { "allowed" };
            lines.heading(&format!("It would be {opposite}"));
            for change in changes {
                lines.plain(format!("  {}", text(change, "/text")));
                if let Some(rule) = change.get("rule") {
                    lines.plain(format!("    {rule}"));
                }
            }
        }
        if let Some(disagreement) = self.disagreement() {
            lines.styled(Style::Warning, disagreement);
        }
        lines.0
    }

    fn source(&self) -> String {
        let address = text(&self.told, "/source/address");
        match self.told.pointer("/source/workload") {
            Some(workload) if workload.is_object() => {
                format!("{}.{} ({address})", text(workload, "/name"), text(workload, "/namespace"))
            }
            _ => address.to_owned(),
        }
    }

    fn route(&self, lines: &mut Lines) {
        let Some(route) = self.told.get("route") else { return };
        let next = text(route, "/nextHop");
        let to = route.get("workload").map(workload).unwrap_or_default();
        let what = match text(route, "/kind") {
            "uncaptured" => {
                "the source is not in the mesh: its connections pass no proxy on their way out, in plain text"
                    .to_owned()
            }
            "itself" => "the source speaks HBONE itself, and chooses its way itself".to_owned(),
            "lookup" => format!(
                "open: the proxy would have to look up {} first",
                route.get("needs").map(Value::to_string).unwrap_or_default()
            ),
            "refused" => format!("none: {}", text(route, "/error")),
            "passthrough" => {
                format!("plain text to {next}, which the mesh does not know or does not balance")
            }
            "plain" => format!("plain text to {to} at {next}, which is not in the mesh"),
            "direct" => format!("HBONE to {to} at {next}, for {}", text(route, "/authority")),
            "waypoint" => format!("HBONE to the waypoint {to} at {next}, for {}", text(route, "/authority")),
            "gateway" => format!(
                "HBONE inside HBONE, by the gateway {to} at {next}, for {}",
                text(route, "/authority")
            ),
            other => other.to_owned(),
        };
        lines.plain(format!("  {what}"));
        match text(&self.told, "/source/workload/proxy") {
            "NotAnnounced" => lines.styled(
                Style::Warning,
                "  the node agent has not announced the source's pod: until it does, nothing captures it"
                    .to_owned(),
            ),
            "Pending" => lines.styled(Style::Warning, "  the source's proxy cannot start yet".to_owned()),
            _ => {}
        }
        for turn in list(route, "/turns") {
            self::turn(turn, lines);
        }
        for identity in list(route, "/expectedIdentities").iter().filter_map(Value::as_str) {
            lines.faint(format!("  the peer has to prove to be {identity}"));
        }
    }

    fn policy(&self, lines: &mut Lines) {
        let end = match self.end().get("end") {
            Some(end) if end.is_object() => end,
            _ => return lines.plain("  nobody is asked: there is no route".to_owned()),
        };
        let who = end.get("workload").map(workload).unwrap_or_default();
        match text(end, "/guard") {
            "none" => {
                return lines
                    .plain("  no proxy guards the destination: no policy is enforced there".to_owned());
            }
            "itself" => {
                return lines.plain(format!(
                    "  {who} takes HBONE itself: it decides, and connects onward in its own name"
                ));
            }
            "other-network" => {
                return lines
                    .plain("  the destination is in another network: its proxies decide there".to_owned());
            }
            "endpoint" => {
                lines.plain(format!(
                    "  the node chooses one of {} endpoints; ask about a pod:",
                    number(end, "/of")
                ));
                for endpoint in list(end, "/endpoints") {
                    lines.plain(format!(
                        "    pod/{}.{}",
                        text(endpoint, "/name"),
                        text(endpoint, "/namespace")
                    ));
                }
                return;
            }
            _ => {}
        }
        let identity = match text(end, "/connection/identity") {
            "" => "nobody (plain text)",
            identity => identity,
        };
        if let Some(error) = end.get("error").and_then(Value::as_str) {
            lines.plain(format!("  {who} says: {error}"));
        }
        if end.get("connection").is_none() {
            return;
        }
        lines.plain(format!(
            "  {who} sees {identity} at {}; PeerAuthentication {}",
            text(end, "/connection/target"),
            text(end, "/peerAuthentication"),
        ));
        let policies = list(end, "/policies");
        if policies.is_empty() && list(end, "/missing").is_empty() {
            lines.plain("  no policy applies".to_owned());
        }
        for policy in policies {
            weighed(policy, text(end, "/decidedBy"), lines);
        }
        let hidden = usize::try_from(number(end, "/of")).unwrap_or_default().saturating_sub(policies.len());
        if hidden > 0 {
            lines.faint(format!("  and {hidden} more that do not match"));
        }
        for missing in list(end, "/missing").iter().filter_map(Value::as_str) {
            lines.styled(
                Style::Warning,
                format!("  {missing}: named by the workload, and not known to the proxy"),
            );
        }
        for (standing, said) in [
            ("NotAnnounced", "the node agent has not announced"),
            ("Pending", "the proxy cannot start yet for"),
        ] {
            if text(end, "/workload/proxy") == standing {
                lines.styled(Style::Warning, format!("  {said} {who}"));
            }
        }
    }
}

fn workload(workload: &Value) -> String {
    let node = text(workload, "/node");
    let at = if node.is_empty() { String::new() } else { format!(" on {node}") };
    format!("{}.{}{at}", text(workload, "/name"), text(workload, "/namespace"))
}

fn turn(turn: &Value, lines: &mut Lines) {
    for (key, said) in [
        ("/service", "the address is that of service"),
        ("/waypoint", "by waypoint"),
        ("/ownWaypoint", "the source is the waypoint itself:"),
        ("/gateway", "by gateway"),
    ] {
        let value = text(turn, key);
        if !value.is_empty() {
            lines.plain(format!("  {said} {value}"));
        }
    }
    let choice = text(turn, "/choice");
    if choice.is_empty() {
        return;
    }
    let endpoints = list(turn, "/endpoints");
    lines.plain(format!(
        "  endpoints of {choice} for port {}: {}",
        number(turn, "/port"),
        number(turn, "/of")
    ));
    for endpoint in endpoints {
        let (style, fit) = match text(endpoint, "/fit") {
            "chosen" => (Style::Plain, "in the choice"),
            "farther" => (Style::Faint, "left out: others are nearer"),
            "no-capacity" => (Style::Faint, "left out: it has no capacity"),
            "unhealthy" => (Style::Faint, "left out: it is not ready"),
            "unreachable" => (Style::Faint, "left out: it has no address or gateway"),
            "no-port" => (Style::Faint, "left out: it has no such port"),
            "locality" => (Style::Faint, "left out: the service insists on nearer ones"),
            other => (Style::Faint, other),
        };
        lines.styled(
            style,
            format!("    {} {}: {fit}", text(endpoint, "/workload"), text(endpoint, "/address")),
        );
    }
}

fn weighed(policy: &Value, decided_by: &str, lines: &mut Lines) {
    let key = text(policy, "/policy");
    let matches = policy.get("matches").and_then(Value::as_bool).unwrap_or_default();
    let style = if key == decided_by { Style::Heading } else { Style::Plain };
    let dry =
        if policy.get("dryRun").and_then(Value::as_bool).unwrap_or_default() { ", dry run" } else { "" };
    let decides = if key == decided_by { ", which decides" } else { "" };
    let means = if matches { "matches" } else { "does not match" };
    lines.styled(
        style,
        format!("  {} {key} ({}{dry}) {means}{decides}", text(policy, "/action"), text(policy, "/scope")),
    );
    let evidence = policy.get("evidence").unwrap_or(&Value::Null);
    let places = list(evidence, "/at").iter().filter_map(Value::as_u64).map(|place| place.to_string());
    let place = places.collect::<Vec<_>>().join("/");
    let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
    match evidence.get("attribute") {
        Some(attribute) if attribute.is_object() => lines.faint(format!(
            "    {}{at}: {} is '{}', wanted '{}'",
            text(evidence, "/cause"),
            text(attribute, "/field"),
            text(attribute, "/seen"),
            text(attribute, "/wanted"),
        )),
        _ => lines.faint(format!("    {}{at}", text(evidence, "/cause"))),
    }
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn styled(&mut self, style: Style, text: String) {
        self.0.push(Line { style, text });
    }

    fn plain(&mut self, text: String) {
        self.styled(Style::Plain, text);
    }

    fn faint(&mut self, text: String) {
        self.styled(Style::Faint, text);
    }

    fn heading(&mut self, text: &str) {
        self.styled(Style::Heading, text.to_owned());
    }
}
