//! What each policy offers on the wire.

use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

use super::TlsPolicy;

#[track_caller]
fn check(policy: TlsPolicy, versions: &[ProtocolVersion], suites: &[CipherSuite], groups: &[NamedGroup]) {
    let provider = policy.provider();
    assert_eq!(policy.versions().iter().map(|version| version.version).collect::<Vec<_>>(), versions);
    assert_eq!(
        provider.cipher_suites.iter().map(rustls::SupportedCipherSuite::suite).collect::<Vec<_>>(),
        suites
    );
    assert_eq!(provider.kx_groups.iter().map(|group| group.name()).collect::<Vec<_>>(), groups);
}

const SUITES13: [CipherSuite; 2] =
    [CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256];
const GROUPS: [NamedGroup; 4] =
    [NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1, NamedGroup::X25519MLKEM768];

#[test]
fn the_default_policy_speaks_tls13_with_aes_gcm_only() {
    check(TlsPolicy::default(), &[ProtocolVersion::TLSv1_3], &SUITES13, &GROUPS);
}

#[test]
fn the_tls12_policy_adds_four_suites_behind_those_of_tls13() {
    let suites = [
        SUITES13[0],
        SUITES13[1],
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let policy = TlsPolicy { tls12: true, pqc: false };
    check(policy, &[ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2], &suites, &GROUPS);
}

#[test]
fn the_pqc_policy_leaves_only_the_hybrid_key_exchange() {
    let policy = TlsPolicy { tls12: false, pqc: true };
    check(policy, &[ProtocolVersion::TLSv1_3], &SUITES13, &[NamedGroup::X25519MLKEM768]);
}
