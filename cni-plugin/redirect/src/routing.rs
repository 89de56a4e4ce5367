//! The policy rule and the route that bring marked replies back to the proxy, by netlink, in the current namespace.

use std::future::Future;
use std::io;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Handle, IpVersion, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::RedirectError;
use crate::plan::{REPLY_MARK, ROUTE_PRIORITY, ROUTE_TABLE};
use crate::rule::Family;

/// Which of the two objects a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) rule: bool,
    pub(crate) route: bool,
}

/// Runs `work` with a netlink handle for the namespace of the calling thread, which must not be one of a runtime.
pub(crate) fn with_netlink<T, W>(work: impl FnOnce(Handle) -> W) -> Result<T, RedirectError>
where
    W: Future<Output = Result<T, RedirectError>>,
{
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(RedirectError::Netlink)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(RedirectError::Netlink)?;
        let connection = tokio::spawn(connection);
        let outcome = work(handle).await;
        connection.abort();
        outcome
    })
}

/// Adds the policy rule. It may be there already.
pub(crate) async fn add_rule(handle: &Handle, family: Family) -> Result<(), RedirectError> {
    let request = handle
        .rule()
        .add()
        .table_id(ROUTE_TABLE)
        .fw_mark(REPLY_MARK.value)
        .priority(ROUTE_PRIORITY)
        .action(RuleAction::ToTable);
    let added = match family {
        Family::V4 => {
            let mut request = request.v4();
            request.message_mut().attributes.push(RuleAttribute::FwMask(REPLY_MARK.mask));
            request.execute().await
        }
        Family::V6 => {
            let mut request = request.v6();
            request.message_mut().attributes.push(RuleAttribute::FwMask(REPLY_MARK.mask));
            request.execute().await
        }
    };
    unless(added, &[io::ErrorKind::AlreadyExists], "add the policy rule for marked replies", family)
}

/// Adds the local default route, or puts it back as it must be.
pub(crate) async fn add_route(handle: &Handle, family: Family) -> Result<(), RedirectError> {
    let loopback = loopback(handle, family).await?;
    let route = match family {
        Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
            .table_id(ROUTE_TABLE)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .output_interface(loopback)
            .build(),
        Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
            .table_id(ROUTE_TABLE)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .output_interface(loopback)
            .build(),
    };
    let added = handle.route().add(route).replace().execute().await;
    unless(added, &[io::ErrorKind::AlreadyExists], "add the local route for marked replies", family)
}

/// Brings the loopback interface up, as in a namespace made for a trial.
pub(crate) async fn loopback_up(handle: &Handle) -> Result<(), RedirectError> {
    let message =
        LinkMessageBuilder::<LinkUnspec>::default().index(loopback(handle, Family::V4).await?).up().build();
    handle.link().set(message).execute().await.map_err(|source| RedirectError::Routing {
        attempt: "bring loopback up",
        family: Family::V4,
        source,
    })
}

/// What is there now.
pub(crate) async fn presence(handle: &Handle, family: Family) -> Result<Presence, RedirectError> {
    Ok(Presence {
        rule: !our_rules(handle, family).await?.is_empty(),
        route: !our_routes(handle, family).await?.is_empty(),
    })
}

/// Deletes the policy rule; it may be gone already.
pub(crate) async fn delete_rule(handle: &Handle, family: Family) -> Result<(), RedirectError> {
    for rule in our_rules(handle, family).await? {
        let deleted = handle.rule().del(rule).execute().await;
        unless(deleted, &[io::ErrorKind::NotFound], "delete the policy rule for marked replies", family)?;
    }
    Ok(())
}

/// Deletes the local default route; it may be gone already.
pub(crate) async fn delete_route(handle: &Handle, family: Family) -> Result<(), RedirectError> {
    for route in our_routes(handle, family).await? {
        let deleted = handle.route().del(route).execute().await;
        unless(deleted, &[io::ErrorKind::NotFound], "delete the local route for marked replies", family)?;
    }
    Ok(())
}

async fn our_rules(handle: &Handle, family: Family) -> Result<Vec<RuleMessage>, RedirectError> {
    let rules: Vec<RuleMessage> = handle
        .rule()
        .get(version(family))
        .execute()
        .try_collect()
        .await
        .map_err(|source| RedirectError::Routing { attempt: "list policy rules", family, source })?;
    Ok(rules.into_iter().filter(is_our_rule).collect())
}

fn is_our_rule(rule: &RuleMessage) -> bool {
    let has = |wanted: &RuleAttribute| rule.attributes.contains(wanted);
    has(&RuleAttribute::FwMark(REPLY_MARK.value))
        && has(&RuleAttribute::FwMask(REPLY_MARK.mask))
        && has(&RuleAttribute::Priority(ROUTE_PRIORITY))
        && (has(&RuleAttribute::Table(ROUTE_TABLE)) || u32::from(rule.header.table) == ROUTE_TABLE)
}

async fn our_routes(handle: &Handle, family: Family) -> Result<Vec<RouteMessage>, RedirectError> {
    let loopback = loopback(handle, family).await?;
    let filter = match family {
        Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
        Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
    };
    let routes: Vec<RouteMessage> = handle
        .route()
        .get(filter)
        .execute()
        .try_collect()
        .await
        .map_err(|source| RedirectError::Routing { attempt: "list routes", family, source })?;
    Ok(routes.into_iter().filter(|route| is_our_route(route, loopback)).collect())
}

fn is_our_route(route: &RouteMessage, loopback: u32) -> bool {
    let has = |wanted: &RouteAttribute| route.attributes.contains(wanted);
    route.header.kind == RouteType::Local
        && route.header.destination_prefix_length == 0
        && has(&RouteAttribute::Oif(loopback))
        && (has(&RouteAttribute::Table(ROUTE_TABLE)) || u32::from(route.header.table) == ROUTE_TABLE)
}

async fn loopback(handle: &Handle, family: Family) -> Result<u32, RedirectError> {
    let links: Vec<_> =
        handle.link().get().execute().try_collect().await.map_err(|source| RedirectError::Routing {
            attempt: "list interfaces",
            family,
            source,
        })?;
    links
        .into_iter()
        .find(|link| link.attributes.contains(&LinkAttribute::IfName("lo".to_owned())))
        .map(|link| link.header.index)
        .ok_or(RedirectError::NoLoopback)
}

const fn version(family: Family) -> IpVersion {
    match family {
        Family::V4 => IpVersion::V4,
        Family::V6 => IpVersion::V6,
    }
}

fn unless(
    outcome: Result<(), rtnetlink::Error>,
    harmless: &[io::ErrorKind],
    attempt: &'static str,
    family: Family,
) -> Result<(), RedirectError> {
    match outcome {
        Err(rtnetlink::Error::NetlinkError(message)) if harmless.contains(&message.to_io().kind()) => Ok(()),
        outcome => outcome.map_err(|source| RedirectError::Routing { attempt, family, source }),
    }
}
