//! Roots that change: A, then A and B, then B.

use std::sync::Arc;

use proxy_core::model::Identity;

use crate::testing::{Ca, identity, tcp, wanted};
use crate::{Credentials, Material, TlsContext, TlsError, TlsLimits, TlsPolicy, accept, connect};

#[tokio::test]
async fn a_rotation_that_one_identity_learnt_of_holds_for_all_of_its_trust_domain() {
    let (a, b) = (Ca::named("a"), Ca::named("b"));
    let node = context();
    let early = issued(&node, 1, "early", &a, &[&a]);
    assert!(meets(&early, &elsewhere("peer", &b, &[&a, &b])).await.is_err(), "nobody told us of B yet");
    let renewed = issued(&node, 2, "renewed", &a, &[&a, &b]);
    for ours in [&early, &renewed] {
        for theirs in [elsewhere("peer", &a, &[&a]), elsewhere("peer", &b, &[&a, &b])] {
            meets(ours, &theirs).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_came_with_the_own_chain_is_trusted_until_the_own_renewal() {
    let (a, b) = (Ca::named("a"), Ca::named("b"));
    let node = context();
    let slow = issued(&node, 1, "slow", &a, &[&a, &b]);
    let fast = issued(&node, 2, "fast", &b, &[&b]);
    let old = elsewhere("peer", &a, &[&a, &b]);
    meets(&slow, &old).await.unwrap();
    let error = meets(&fast, &old).await.unwrap_err();
    assert!(matches!(error, TlsError::Certificate { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_to_an_earlier_request_is_not_newer_because_it_is_late() {
    let (a, b) = (Ca::named("a"), Ca::named("b"));
    let node = context();
    let ours = issued(&node, 7, "web", &a, &[&a, &b]);
    issued(&node, 6, "late", &a, &[&a]);
    let bystander = issued(&node, 5, "later", &a, &[&a]);
    for identity in [&ours, &bystander] {
        meets(identity, &elsewhere("peer", &b, &[&b, &a])).await.unwrap();
    }
}

#[tokio::test]
async fn another_trust_domain_has_roots_of_its_own() {
    let (a, b) = (Ca::named("a"), Ca::named("b"));
    let node = context();
    let ours = issued(&node, 1, "web", &a, &[&a]);
    let foreign = Identity::new("other.mesh", "apps", "web");
    let material = Material { roots: vec![a.root(), b.root()], ..b.material(&foreign) };
    Credentials::new(foreign, material, &node).unwrap().publish_roots(2);
    assert!(meets(&ours, &elsewhere("peer", &b, &[&a, &b])).await.is_err());
}

#[tokio::test]
async fn a_new_root_of_the_old_name_is_told_apart_by_its_key() {
    let (old, new) = (Ca::named("root"), Ca::named("root"));
    let node = context();
    let ours = issued(&node, 1, "web", &old, &[&old]);
    issued(&node, 2, "api", &new, &[&new]);
    for theirs in [elsewhere("peer", &old, &[&old]), elsewhere("peer", &new, &[&old, &new])] {
        meets(&ours, &theirs).await.unwrap();
    }
}

#[tokio::test]
async fn the_dump_shows_every_root_in_use_once() {
    let (a, b) = (Ca::named("a"), Ca::named("b"));
    let node = context();
    let ours = issued(&node, 1, "web", &a, &[&a]);
    assert_eq!(roots(&ours), [a.root()]);
    issued(&node, 2, "api", &a, &[&b, &a]);
    assert_eq!(roots(&ours), [b.root(), a.root()]);
}

fn context() -> TlsContext {
    TlsPolicy::default().into()
}

/// A certificate of this node's, brought by request number `request`.
fn issued(node: &TlsContext, request: u64, name: &str, issuer: &Ca, roots: &[&Ca]) -> Arc<Credentials> {
    let roots = roots.iter().map(|ca| ca.root()).collect();
    let material = Material { roots, ..issuer.sign(wanted().uri(identity(name))) };
    let credentials = Credentials::new(identity(name), material, node).unwrap();
    credentials.publish_roots(request);
    Arc::new(credentials)
}

/// A certificate of another node's. Its peers are its own business here: it trusts whom it is given.
fn elsewhere(name: &str, issuer: &Ca, roots: &[&Ca]) -> Arc<Credentials> {
    issued(&context(), 1, name, issuer, roots)
}

/// Whether `ours` accepts `theirs`, on either side of a handshake.
async fn meets(ours: &Arc<Credentials>, theirs: &Arc<Credentials>) -> Result<(), TlsError> {
    let limits = TlsLimits::default();
    let (accepting, dialing) = tcp().await;
    let expected = [theirs.identity().clone()];
    let (_, connected) =
        tokio::join!(accept(accepting, theirs, &limits), connect(dialing, ours, &expected, &limits));
    let outbound = connected.map(drop);
    let (accepting, dialing) = tcp().await;
    let expected = [ours.identity().clone()];
    let (accepted, _) =
        tokio::join!(accept(accepting, ours, &limits), connect(dialing, theirs, &expected, &limits));
    // The other side's opinion of us may spoil its connect, and then says nothing of ours.
    match (outbound, accepted.map(drop)) {
        (Ok(()), Err(TlsError::Protocol { .. } | TlsError::Io { .. })) => Ok(()),
        (outbound, inbound) => outbound.and(inbound),
    }
}

fn roots(credentials: &Credentials) -> Vec<Vec<u8>> {
    credentials.roots().certificates().into_iter().map(|root| root.der.to_vec()).collect()
}
