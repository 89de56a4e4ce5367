//! Which rules a pod wants: pure, from the node's settings and the pod's own wishes.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::render;
use crate::rule::{Chain, Family, Mark, Match, Protocol, Rule, Table, Target};

/// Where captured outbound connections go.
pub const OUTBOUND_PORT: u16 = 15001;
/// Where captured plaintext inbound connections go.
pub const INBOUND_PORT: u16 = 15006;
/// Where peers' tunnels arrive; never captured.
pub const HBONE_PORT: u16 = 15008;
/// Where captured DNS goes.
pub const DNS_PORT: u16 = 15053;
/// What the proxy writes on every packet it sends inside a pod.
pub const PROXY_MARK: Mark = Mark { value: 0x539, mask: 0xfff };
/// On connections from the proxy to the application, and on the application's replies.
pub const REPLY_MARK: Mark = Mark { value: 0x111, mask: 0xfff };
/// Keeps the proxy's own DNS queries apart from the pod's.
pub const DNS_ZONE: u16 = 1;
/// The routing table that delivers everything to the pod itself.
pub const ROUTE_TABLE: u32 = 100;
/// Priority of the policy rule that sends marked replies to that table.
pub const ROUTE_PRIORITY: u32 = 32764;

/// What holds for every pod of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether pods get IPv6 rules.
    pub ipv6: bool,
    /// Whether DNS is captured, unless a pod says otherwise.
    pub dns: bool,
    /// Source address of the kubelet's probes as the pod sees them.
    pub probe_v4: Ipv4Addr,
    /// The same for IPv6.
    pub probe_v6: Ipv6Addr,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ipv6: true,
            dns: false,
            probe_v4: Ipv4Addr::new(169, 254, 7, 127),
            probe_v6: Ipv6Addr::new(0xfd16, 0x9254, 0x7127, 0x1337, 0xffff, 0xffff, 0xffff, 0xffff),
        }
    }
}

/// What one pod asks for by annotation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodOverrides {
    /// Plaintext from outside reaches the application directly.
    pub ingress: bool,
    /// DNS captured or not, whatever the node's setting.
    pub dns: Option<bool>,
    /// Interfaces behind which the pod runs virtual machines or containers of its own: their traffic is outbound.
    pub virtual_interfaces: Vec<InterfaceName>,
}

/// For which families the proxy takes a pod's DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DnsListeners {
    /// On 127.0.0.1.
    pub v4: bool,
    /// On `::1`.
    pub v6: bool,
}

impl DnsListeners {
    /// Both.
    pub const ALL: Self = Self { v4: true, v6: true };

    const fn of(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// A network interface's name, safe to write into a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

/// The text cannot name an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a network interface: 1 to 15 letters, digits or one of . _ - @ +")]
pub struct InterfaceNameError(pub String);

impl FromStr for InterfaceName {
    type Err = InterfaceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A trailing plus is iptables' wildcard, and users rely on it.
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-@+".contains(c);
        let shaped = (1..=15).contains(&text.len()) && !text.starts_with('-') && !matches!(text, "." | "..");
        if shaped && text.chars().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InterfaceNameError(text.to_owned()))
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rules of one table, in order. Each chain is jumped to once from its hook, also when it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Of [`Chain::Prerouting`].
    pub prerouting: Vec<Rule>,
    /// Of [`Chain::Output`].
    pub output: Vec<Rule>,
}

impl Rules {
    /// The rules of one chain.
    #[must_use]
    pub fn of(&self, chain: Chain) -> &[Rule] {
        match chain {
            Chain::Prerouting => &self.prerouting,
            Chain::Output => &self.output,
        }
    }
}

/// Everything a pod wants, for each family it wants it for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    families: BTreeMap<Family, BTreeMap<Table, Rules>>,
}

impl Plan {
    /// The families with rules.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        self.families.keys().copied()
    }

    /// The rules of one table, `None` when the pod wants none of ours there.
    #[must_use]
    pub fn table(&self, family: Family, table: Table) -> Option<&Rules> {
        self.families.get(&family)?.get(&table)
    }

    /// The same plan for these families alone.
    #[must_use]
    pub fn only(&self, families: &[Family]) -> Self {
        let kept = self.families.iter().filter(|(family, _)| families.contains(family));
        Self { families: kept.map(|(family, tables)| (*family, tables.clone())).collect() }
    }

    /// What the connections that the proxy carries already go on needing of the plan: nothing that begins is redirected
    /// to the proxy any more, nor held up for having gone past it. Chains that are empty stay in place: the kernel
    /// translates addresses only where there are some.
    #[must_use]
    pub fn released(&self) -> Self {
        let mut families = self.families.clone();
        for tables in families.values_mut() {
            tables.insert(Table::Nat, Rules::default());
            if let Some(mangle) = tables.get_mut(&Table::Mangle) {
                mangle.prerouting.retain(|rule| rule.target != Target::Drop);
            }
        }
        Self { families }
    }

    /// A number that stays the same, also across releases and machines, as long as the rules do.
    #[must_use]
    pub fn hash(&self) -> u64 {
        // FNV-1a: the standard library's hasher promises nothing across releases.
        let text = self.families().map(|family| render::rules(self, family));
        text.flat_map(String::into_bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

/// Whether a pod's DNS is to be captured as soon as the proxy takes it.
#[must_use]
pub fn wants_dns(settings: &Settings, pod: &PodOverrides) -> bool {
    pod.dns.unwrap_or(settings.dns)
}

/// Decides the rules of one pod. DNS rules appear with the listener that they lead to, and go with it.
#[must_use]
pub fn plan(settings: &Settings, pod: &PodOverrides, listeners: DnsListeners) -> Plan {
    let mut sides = vec![Side { family: Family::V4, probe: settings.probe_v4.into() }];
    if settings.ipv6 {
        sides.push(Side { family: Family::V6, probe: settings.probe_v6.into() });
    }
    let families = sides.into_iter().map(|side| {
        let dns = wants_dns(settings, pod) && listeners.of(side.family);
        let mut tables =
            BTreeMap::from([(Table::Mangle, side.mangle(pod)), (Table::Nat, side.nat(pod, dns))]);
        if dns {
            tables.insert(Table::Raw, raw());
        }
        (side.family, tables)
    });
    Plan { families: families.collect() }
}

/// A plan with every kind of rule, for trying out what this node can load.
pub(crate) fn everything() -> Plan {
    let settings = Settings { dns: true, ..Settings::default() };
    let virtual_interfaces = vec![InterfaceName(LOOPBACK.to_owned())];
    plan(&settings, &PodOverrides { virtual_interfaces, ..PodOverrides::default() }, DnsListeners::ALL)
}

/// What differs between the families.
struct Side {
    family: Family,
    probe: IpAddr,
}

impl Side {
    /// The proxy speaks to the application from the client's address; marks bring the replies back to it.
    fn mangle(&self, pod: &PodOverrides) -> Rules {
        let mut prerouting =
            vec![Rule::new([Match::Mark { not: false, mark: PROXY_MARK }], Target::SetConnMark(REPLY_MARK))];
        if !pod.ingress {
            prerouting.extend(self.no_second_chance());
        }
        let replies = Match::ConnMark { not: false, mark: REPLY_MARK };
        Rules { prerouting, output: vec![Rule::new([replies], Target::RestoreMark)] }
    }

    /// Redirection is decided once for each connection that the kernel tracks, by its first packet. Because ours
    /// spares packets from the middle of a connection, a peer could send such a packet first (one the pod does
    /// not answer, say with an MD5 option) and then open the same connection past the proxy. So a connection that
    /// begins must be new to the kernel or redirected already; else it is dropped.
    fn no_second_chance(&self) -> [Rule; 2] {
        let inbound = [
            Match::Source { not: true, address: self.probe },
            Match::Destination { not: true, address: self.loopback() },
            Match::InInterface { not: true, name: LOOPBACK.to_owned() },
            Match::Protocol(Protocol::Tcp),
            Match::DestinationPort { not: true, port: HBONE_PORT },
            Match::Begins,
            not_from_proxy(),
        ];
        let untracked = [Match::State { not: false, name: "INVALID".to_owned() }];
        let spared = [
            Match::State { not: true, name: "DNAT".to_owned() },
            Match::Status { not: false, name: "CONFIRMED".to_owned() },
        ];
        [
            Rule::new(inbound.clone().into_iter().chain(untracked), Target::Drop),
            Rule::new(inbound.into_iter().chain(spared), Target::Drop),
        ]
    }

    fn nat(&self, pod: &PodOverrides, dns: bool) -> Rules {
        let tcp = Match::Protocol(Protocol::Tcp);
        let mut prerouting = Vec::new();
        for name in &pod.virtual_interfaces {
            let behind = Match::InInterface { not: false, name: name.to_string() };
            prerouting.push(Rule::new(
                [behind.clone(), tcp.clone(), Match::Begins],
                Target::Redirect(OUTBOUND_PORT),
            ));
            prerouting.push(Rule::new([behind, tcp.clone()], Target::Return));
        }
        let mut output = vec![Rule::new(
            [Match::Destination { not: false, address: self.probe }, tcp.clone()],
            Target::Accept,
        )];
        if !pod.ingress {
            let probe = Match::Source { not: false, address: self.probe };
            prerouting.push(Rule::new([probe, tcp.clone()], Target::Accept));
            let tunnel = Match::DestinationPort { not: true, port: HBONE_PORT };
            prerouting.push(Rule::new(
                [self.not_loopback(), tcp.clone(), tunnel, Match::Begins, not_from_proxy()],
                Target::Redirect(INBOUND_PORT),
            ));
        }
        if dns {
            output.extend(self.dns());
        }
        let reply = Match::Mark { not: false, mark: REPLY_MARK };
        output.push(Rule::new([tcp.clone(), reply], Target::Accept));
        // A pod that calls itself by its own address is not in anybody's way.
        let inside = Match::OutInterface { not: false, name: LOOPBACK.to_owned() };
        output.push(Rule::new([self.not_loopback(), inside], Target::Accept));
        output.push(Rule::new(
            [self.not_loopback(), tcp, Match::Begins, not_from_proxy()],
            Target::Redirect(OUTBOUND_PORT),
        ));
        Rules { prerouting, output }
    }

    fn dns(&self) -> [Rule; 2] {
        let port = Match::DestinationPort { not: false, port: 53 };
        let outside = Match::OutInterface { not: true, name: LOOPBACK.to_owned() };
        let udp = [outside, Match::Protocol(Protocol::Udp), port.clone(), not_from_proxy()];
        let tcp =
            [self.not_loopback(), Match::Protocol(Protocol::Tcp), port, Match::Begins, not_from_proxy()];
        [Rule::new(udp, Target::Redirect(DNS_PORT)), Rule::new(tcp, Target::Redirect(DNS_PORT))]
    }

    fn not_loopback(&self) -> Match {
        Match::Destination { not: true, address: self.loopback() }
    }

    fn loopback(&self) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

/// A port used by both the pod's query and the proxy's must not be taken for one connection.
fn raw() -> Rules {
    let udp = Match::Protocol(Protocol::Udp);
    let query = Match::DestinationPort { not: false, port: 53 };
    let response = Match::SourcePort { not: false, port: 53 };
    let from_proxy = Match::Mark { not: false, mark: PROXY_MARK };
    Rules {
        prerouting: vec![Rule::new([udp.clone(), not_from_proxy(), response], Target::Zone(DNS_ZONE))],
        output: vec![Rule::new([udp, from_proxy, query], Target::Zone(DNS_ZONE))],
    }
}

fn not_from_proxy() -> Match {
    Match::Mark { not: true, mark: PROXY_MARK }
}

const LOOPBACK: &str = "lo";
