//! Handshakes and open connections while lists come and go.

use std::sync::Arc;

use futures_util::FutureExt as _;
use proxy_core::Reason;
use proxy_core::world::Strictness;
use rustls::pki_types::CertificateDer;

use super::lists::Lists;
use super::{RevocationCounts, Revocations};
use crate::testing::{self, Ca, identity, tcp, wanted};
use crate::{
    Accepted, Connected, Credentials, Direction, Standing, TlsContext, TlsError, TlsLimits, TlsPolicy,
    accept, connect,
};

#[tokio::test]
async fn a_revoked_client_is_refused_and_counted() {
    let rig = Rig::new();
    rig.revoke(&[2]);
    let error = rig.shake(1, 2).await.0.unwrap_err();
    assert!(matches!(error, TlsError::Revoked), "{error:?}");
    assert_eq!(error.reason(), Reason::Revoked);
    assert_eq!(rig.counts().revoked, [1, 0]);
    rig.shake(1, 3).await.0.unwrap();
}

#[tokio::test]
async fn a_revoked_server_is_refused_and_counted() {
    let rig = Rig::new();
    rig.revoke(&[1]);
    let error = rig.shake(1, 2).await.1.unwrap_err();
    assert!(matches!(error, TlsError::Revoked), "{error:?}");
    assert_eq!(rig.counts().revoked, [0, 1]);
}

#[tokio::test]
async fn a_certificate_under_a_revoked_intermediate_is_refused() {
    let rig = Rig::new();
    let intermediate = Arc::new(rig.ca.intermediate_numbered(90));
    let through = || wanted().uri(identity("web")).serial(5).through(Arc::clone(&intermediate));
    let client = rig.credentials(rig.ca.sign(through()));
    let server = rig.ca.numbered(&identity("api"), 1, &rig.context);
    handshake(&server, &client).await.0.unwrap();
    rig.revoke(&[90]);
    let error = handshake(&server, &client).await.0.unwrap_err();
    assert!(matches!(error, TlsError::Revoked), "{error:?}");

    let of_the_intermediate = testing::list(&intermediate, &[5], 4_000_000_000);
    rig.revocations.adopt(Lists::parse(of_the_intermediate.der()).unwrap());
    let error = handshake(&server, &client).await.0.unwrap_err();
    assert!(matches!(error, TlsError::Revoked), "{error:?}");
}

#[tokio::test]
async fn a_list_that_is_overdue_still_revokes() {
    let rig = Rig::new();
    rig.revocations.adopt(Lists::parse(rig.ca.list_until(&[2], 2_000).der()).unwrap());
    let error = rig.shake(1, 2).await.0.unwrap_err();
    assert!(matches!(error, TlsError::Revoked), "{error:?}");
}

#[tokio::test]
async fn certificates_that_no_list_is_about_pass() {
    let rig = Rig::new();
    rig.revocations.adopt(Lists::parse(Ca::named("other").list(&[1, 2]).der()).unwrap());
    let (accepted, connected) = rig.shake(1, 2).await;
    accepted.unwrap();
    connected.unwrap();
}

#[tokio::test]
async fn a_list_of_an_authority_of_the_same_name_does_not_stop_whom_it_does_not_name() {
    let rig = Rig::new();
    let namesake = Ca::new();
    rig.revocations.adopt(Lists::parse(namesake.list(&[77]).der()).unwrap());
    let open = rig.shake(1, 2).await.0.unwrap();
    // Whom it names is refused, and not as revoked: nobody can say who signed the list.
    rig.revocations.adopt(Lists::parse(namesake.list(&[2]).der()).unwrap());
    let error = rig.shake(1, 2).await.0.unwrap_err();
    assert!(matches!(error, TlsError::Certificate { .. }), "{error:?}");
    // Who was let in before is not treated better.
    assert!(open.standing.is_revoked());
    assert_eq!(rig.counts().revoked, [1, 0]);
}

#[tokio::test]
async fn with_two_lists_of_one_issuer_either_revokes() {
    let rig = Rig::new();
    let file = format!("{}{}", rig.ca.list(&[50]).pem().unwrap(), rig.ca.list(&[2]).pem().unwrap());
    rig.revocations.adopt(Lists::parse(file.as_bytes()).unwrap());
    let error = rig.shake(1, 2).await.0.unwrap_err();
    assert!(matches!(error, TlsError::Revoked), "{error:?}");
    let error = rig.shake(50, 3).await.1.unwrap_err();
    assert!(matches!(error, TlsError::Revoked), "{error:?}");
}

#[tokio::test]
async fn a_revoked_certificate_that_has_no_part_in_the_chain_proves_nothing() {
    let rig = Rig::new();
    let junk = rig.ca.sign(wanted().uri(identity("other")).serial(66)).chain.remove(0);
    let mut material = rig.ca.sign(wanted().uri(identity("web")).serial(2));
    material.chain.push(junk);
    let client = rig.credentials(material);
    let server = rig.ca.numbered(&identity("api"), 1, &rig.context);
    rig.revoke(&[66]);
    let (accepted, _connected) = handshake(&server, &client).await;
    let standing = accepted.unwrap().standing;
    rig.revoke(&[66, 67]);
    assert!(!standing.is_revoked());
}

#[tokio::test]
async fn a_later_list_reaches_the_open_connections_of_whom_it_names_and_no_other() {
    let rig = Rig::new();
    let (accepted, connected) = rig.shake(1, 2).await;
    let (other, _) = rig.shake(1, 3).await;
    let (accepted, connected, other) = (accepted.unwrap(), connected.unwrap(), other.unwrap());
    rig.revoke(&[99]);
    let peers = [&accepted.standing, &connected.standing, &other.standing];
    assert!(peers.iter().all(|standing| standing.revoked().now_or_never().is_none()));
    rig.revoke(&[2, 99]);
    accepted.standing.revoked().await;
    assert_eq!(peers.map(Standing::is_revoked), [true, false, false]);
    assert_eq!(rig.counts().revoked, [1, 0]);
    rig.revoke(&[1, 2, 99]);
    connected.standing.clone().revoked().await;
    assert_eq!(rig.counts().revoked, [1, 1], "and nobody twice");
}

#[tokio::test]
async fn who_waits_already_is_told() {
    let rig = Rig::new();
    let accepted = rig.shake(1, 2).await.0.unwrap();
    let waiting = tokio::spawn({
        let standing = accepted.standing.clone();
        async move { standing.revoked().await }
    });
    tokio::task::yield_now().await;
    rig.revoke(&[2]);
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_list_that_comes_between_handshake_and_watch_is_not_missed() {
    let rig = Rig::new();
    let chain: Vec<_> = rig.ca.sign(wanted().uri(identity("web")).serial(2)).chain;
    let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
    rig.revoke(&[2]);
    let server = rig.ca.numbered(&identity("api"), 1, &rig.context);
    assert!(server.watch(Some(&chain), Direction::Inbound).is_revoked());
}

#[tokio::test]
async fn a_certificate_that_expired_since_is_still_recognized() {
    let rig = Rig::new();
    let server = rig.ca.numbered(&identity("api"), 1, &rig.context);
    let now = testing::now().as_secs();
    let client = rig.ca.sign(wanted().uri(identity("web")).serial(2).valid(now - 60, now + 1));
    let accepted = handshake(&server, &rig.credentials(client)).await.0;
    // On a machine that is too slow for a certificate of a second there is nothing to see.
    let Ok(accepted) = accepted else { return };
    rig.revoke(&[2]);
    assert!(accepted.standing.is_revoked());
}

#[tokio::test]
async fn a_connection_that_ended_is_not_watched_any_more() {
    let rig = Rig::new();
    let (accepted, connected) = rig.shake(1, 2).await;
    assert_eq!(rig.revocations.open.lock().len(), 2);
    let clone = accepted.as_ref().unwrap().standing.clone();
    drop((accepted, connected));
    assert_eq!(rig.revocations.open.lock().len(), 1);
    drop(clone);
    assert!(rig.revocations.open.lock().is_empty());
}

#[tokio::test]
async fn a_connection_without_a_known_chain_is_counted_as_untracked() {
    let rig = Rig::new();
    let server = rig.ca.numbered(&identity("api"), 1, &rig.context);
    let standing = server.watch(None, Direction::Outbound);
    rig.revoke(&[2]);
    assert!(!standing.is_revoked());
    assert_eq!(rig.counts().untracked, [0, 1]);
}

#[tokio::test]
async fn where_nothing_can_be_revoked_nothing_is_watched() {
    let ca = Ca::new();
    let context = TlsContext::from(TlsPolicy::default());
    let (server, client) =
        (ca.numbered(&identity("api"), 1, &context), ca.numbered(&identity("web"), 2, &context));
    let accepted = handshake(&server, &client).await.0.unwrap();
    assert!(accepted.standing.0.is_none());
    assert!(accepted.standing.revoked().now_or_never().is_none());
}

#[tokio::test]
async fn while_the_file_cannot_be_read_peers_are_treated_as_told() {
    for (told, admitted, unchecked) in
        [(Strictness::Compat, true, 0), (Strictness::Report, true, 1), (Strictness::Enforce, false, 0)]
    {
        let rig = Rig::told(told);
        rig.shake(1, 2).await.0.unwrap();
        rig.revocations.file_refused();
        let (accepted, _connected) = rig.shake(1, 2).await;
        assert_eq!(accepted.is_ok(), admitted, "{told:?}");
        if let Err(error) = accepted {
            assert!(matches!(error, TlsError::RevocationUnknown | TlsError::Protocol { .. }), "{error:?}");
            assert_eq!(error.reason(), Reason::TlsFailed);
        }
        assert_eq!(rig.counts().unchecked[0], unchecked, "{told:?}");

        // The first file that can be read ends it, whatever was told; and a later bad one changes nothing.
        rig.revoke(&[3]);
        rig.revocations.file_refused();
        rig.shake(1, 2).await.0.unwrap();
        assert!(matches!(rig.shake(1, 3).await.0.unwrap_err(), TlsError::Revoked));
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_and_goes_refuses_nobody() {
    let rig = Rig::told(Strictness::Enforce);
    rig.revocations.file_refused();
    rig.revocations.file_gone();
    rig.shake(1, 2).await.0.unwrap();
}

struct Rig {
    ca: Ca,
    revocations: Arc<Revocations>,
    context: TlsContext,
}

impl Rig {
    fn new() -> Self {
        Self::told(Strictness::Report)
    }

    fn told(unreadable: Strictness) -> Self {
        let revocations = Revocations::new(unreadable);
        let context = TlsContext::new(TlsPolicy::default(), Arc::clone(&revocations));
        Self { ca: Ca::new(), revocations, context }
    }

    fn revoke(&self, serials: &[u64]) {
        self.revocations.adopt(Lists::parse(self.ca.list(serials).der()).unwrap());
    }

    fn credentials(&self, material: crate::Material) -> Arc<Credentials> {
        Arc::new(Credentials::new(identity("web"), material, &self.context).unwrap())
    }

    /// Between a server and a client with certificates of these serial numbers.
    async fn shake(
        &self,
        server: u64,
        client: u64,
    ) -> (Result<Accepted, TlsError>, Result<Connected, TlsError>) {
        let api = self.ca.numbered(&identity("api"), server, &self.context);
        let web = self.ca.numbered(&identity("web"), client, &self.context);
        handshake(&api, &web).await
    }

    fn counts(&self) -> RevocationCounts {
        self.revocations.counts()
    }
}

async fn handshake(
    server: &Arc<Credentials>,
    client: &Arc<Credentials>,
) -> (Result<Accepted, TlsError>, Result<Connected, TlsError>) {
    let (accepting, dialing) = tcp().await;
    let (expected, limits) = ([identity("api")], TlsLimits::default());
    tokio::join!(accept(accepting, server, &limits), connect(dialing, client, &expected, &limits))
}
