//! Interfaces, addresses and routes, through netlink inside a namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, packet_route::link,
};

use super::netns::Netns;

/// What the functions here fail with; the lab turns it into a panic that names the attempt.
pub type NetError = rtnetlink::Error;

/// Runs netlink calls inside `netns`; panics with `what` when one fails.
#[track_caller]
pub fn configure<T: Send, F>(netns: &Netns, what: &str, work: impl FnOnce(Handle) -> F + Send) -> T
where
    F: Future<Output = Result<T, NetError>>,
{
    netns.block_on(|| async {
        let (connection, handle, _) = rtnetlink::new_connection().expect("a netlink socket");
        tokio::spawn(connection);
        match work(handle).await {
            Ok(done) => done,
            Err(why) => panic!("{what} in {}: {why}", netns.name()),
        }
    })
}

/// The index of an interface.
pub async fn index(handle: &Handle, name: &str) -> Result<u32, NetError> {
    let found = handle.link().get().match_name(name.to_owned()).execute().try_next().await?;
    found.map(|link| link.header.index).ok_or(NetError::RequestFailed)
}

/// The hardware address of an interface, as colon-separated hex.
pub async fn mac(handle: &Handle, name: &str) -> Result<String, NetError> {
    let found = handle.link().get().match_name(name.to_owned()).execute().try_next().await?;
    let link = found.ok_or(NetError::RequestFailed)?;
    let bytes = link.attributes.iter().find_map(|attribute| {
        if let link::LinkAttribute::Address(bytes) = attribute { Some(bytes.clone()) } else { None }
    });
    let hex: Vec<_> = bytes.unwrap_or_default().iter().map(|b| format!("{b:02x}")).collect();
    Ok(hex.join(":"))
}

/// Brings an interface up.
pub async fn up(handle: &Handle, name: &str) -> Result<(), NetError> {
    let index = index(handle, name).await?;
    let message = LinkMessageBuilder::<LinkUnspec>::default().index(index).up().build();
    handle.link().set(message).execute().await
}

/// A bridge, up.
pub async fn bridge(handle: &Handle, name: &str) -> Result<(), NetError> {
    handle.link().add(LinkBridge::new(name).build()).execute().await?;
    up(handle, name).await
}

/// Makes an interface a port of a bridge, and brings it up.
pub async fn join_bridge(handle: &Handle, name: &str, bridge: &str) -> Result<(), NetError> {
    let (port, bridge) = (index(handle, name).await?, index(handle, bridge).await?);
    let message = LinkMessageBuilder::<LinkUnspec>::default().index(port).controller(bridge).up().build();
    handle.link().set(message).execute().await
}

/// A pair of interfaces: `name` here, `peer` in the other namespace. Neither is up yet.
pub async fn veth(handle: &Handle, name: &str, peer: &str, there: &Netns) -> Result<(), NetError> {
    // Born under a name that cannot meet one of this namespace, renamed on arrival.
    let born = format!("p-{name}");
    handle.link().add(LinkVeth::new(name, &born).build()).execute().await?;
    let index = index(handle, &born).await?;
    let message = LinkMessageBuilder::<LinkUnspec>::default()
        .index(index)
        .name(peer)
        .setns_by_fd(there.file().as_raw_fd())
        .build();
    handle.link().set(message).execute().await
}

/// Removes an interface, and with it the other end of its pair.
pub async fn remove_link(handle: &Handle, name: &str) -> Result<(), NetError> {
    let index = index(handle, name).await?;
    handle.link().del(index).execute().await
}

/// Adds an address to an interface.
pub async fn address(handle: &Handle, name: &str, address: IpNet) -> Result<(), NetError> {
    let index = index(handle, name).await?;
    handle.address().add(index, address.addr(), address.prefix_len()).execute().await
}

/// A route through a gateway.
pub async fn route_via(handle: &Handle, to: IpNet, gateway: IpAddr) -> Result<(), NetError> {
    let message = match (to, gateway) {
        (IpNet::V4(to), IpAddr::V4(gateway)) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .gateway(gateway)
            .build(),
        (IpNet::V6(to), IpAddr::V6(gateway)) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .gateway(gateway)
            .build(),
        (to, gateway) => panic!("a route to {to} via {gateway} mixes families"),
    };
    handle.route().add(message).execute().await
}

/// A route to what is directly behind an interface.
pub async fn route_dev(handle: &Handle, to: IpNet, name: &str) -> Result<(), NetError> {
    let index = index(handle, name).await?;
    let message = match to {
        IpNet::V4(to) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .scope(rtnetlink::packet_route::route::RouteScope::Link)
            .output_interface(index)
            .build(),
        IpNet::V6(to) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .output_interface(index)
            .build(),
    };
    handle.route().add(message).execute().await
}

/// A network that holds one address.
pub fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// Everything, in the family of `like`.
pub fn everywhere(like: IpAddr) -> IpNet {
    match like {
        IpAddr::V4(_) => IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        IpAddr::V6(_) => IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    }
    .expect("a prefix of no bits")
}
