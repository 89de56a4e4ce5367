//! Which address is whose in a lab.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The families that a lab's pods have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone; the underlay keeps IPv4 for the control plane.
    V6,
    /// Both, IPv4 first.
    Dual,
}

impl Families {
    fn pick(self, v4: IpAddr, v6: IpAddr) -> Vec<IpAddr> {
        match self {
            Self::V4 => vec![v4],
            Self::V6 => vec![v6],
            Self::Dual => vec![v4, v6],
        }
    }

    /// What the nodes have below the pods: IPv4 always, IPv6 only where pods use it, as a kernel may lack it.
    fn below(self, v4: IpNet, v6: IpNet) -> Vec<IpNet> {
        match self {
            Self::V4 => vec![v4],
            Self::V6 | Self::Dual => vec![v4, v6],
        }
    }
}

/// The control plane's address on the underlay, the same in every lab.
pub const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
/// The same over IPv6.
pub const CONTROL_PLANE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 254);

/// The addresses of node number `node`, counted from 1, on the underlay. IPv4 is always first.
pub fn node(families: Families, node: u8) -> Vec<IpNet> {
    families.below(
        net(Ipv4Addr::new(10, 0, 0, node).into(), 24),
        net(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, node.into()).into(), 64),
    )
}

/// The control plane's addresses on the underlay.
pub fn control_plane(families: Families) -> Vec<IpNet> {
    families.below(net(CONTROL_PLANE.into(), 24), net(CONTROL_PLANE_V6.into(), 64))
}

/// The pod networks of a node. Every node has one for IPv4: its infrastructure may run there.
pub fn pods(families: Families, node: u8) -> Vec<IpNet> {
    families.below(
        net(Ipv4Addr::new(10, 1, node, 0).into(), 24),
        net(Ipv6Addr::new(0xfd00, 1, node.into(), 0, 0, 0, 0, 0).into(), 64),
    )
}

/// The addresses of pod number `pod`, counted from 2, each with its gateway on the node.
pub fn pod(families: Families, node: u8, pod: u8) -> Vec<(IpAddr, IpAddr)> {
    let v4 = |last| Ipv4Addr::new(10, 1, node, last).into();
    let v6 = |last: u8| Ipv6Addr::new(0xfd00, 1, node.into(), 0, 0, 0, 0, last.into()).into();
    let addresses = families.pick(v4(pod), v6(pod));
    addresses.into_iter().zip(families.pick(v4(1), v6(1))).collect()
}

/// The virtual addresses of service number `service`, counted from 1.
pub fn service(families: Families, service: u8) -> Vec<IpAddr> {
    families.pick(
        Ipv4Addr::new(10, 96, 0, service).into(),
        Ipv6Addr::new(0xfd00, 96, 0, 0, 0, 0, 0, service.into()).into(),
    )
}

fn net(address: IpAddr, prefix: u8) -> IpNet {
    IpNet::new(address, prefix).expect("a prefix of its family")
}
