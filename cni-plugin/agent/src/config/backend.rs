//! How redirection rules are loaded: the names of istio-cni, and `auto`.

use cni_plugin_redirect::{Variant, Wish};

use super::Errors;
use crate::eligible::parse_bool;

/// As given.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct RawBackend {
    /// Native nftables instead of iptables: true, false, or auto for what the node uses already or else what costs least
    /// [default: false]
    #[arg(long, env = "NATIVE_NFTABLES", value_name = "BOOL|auto", num_args = 0..=1, default_missing_value = "true")]
    pub native_nftables: Option<String>,
    /// Which iptables to use, `legacy` or `nft`; without effect where native nftables are asked for
    /// [default: what the node uses already]
    #[arg(long, env = "FORCE_IPTABLES_BINARY", value_name = "VARIANT")]
    pub iptables: Option<String>,
}

/// As meant. A forced iptables decides against native nftables unless those are asked for outright.
pub(super) fn wish(errors: &mut Errors, raw: &RawBackend) -> Wish {
    let variant = match raw.iptables.as_deref() {
        None | Some("") => None,
        Some("legacy") => Some(Variant::Legacy),
        Some("nft") => Some(Variant::Nft),
        Some(other) => {
            errors.malformed(("iptables", "FORCE_IPTABLES_BINARY"), other.to_owned(), "legacy or nft");
            None
        }
    };
    let native = raw.native_nftables.as_deref().filter(|text| !text.is_empty());
    match native.map(|text| (text, parse_bool(text))) {
        Some((_, Some(true))) => Wish::Nftables,
        Some(("auto", _)) if variant.is_none() => Wish::Auto,
        None | Some((_, Some(false)) | ("auto", _)) => Wish::Iptables(variant),
        Some((other, None)) => {
            let key = ("native-nftables", "NATIVE_NFTABLES");
            errors.malformed(key, other.to_owned(), "true, false or auto");
            Wish::Iptables(variant)
        }
    }
}

#[cfg(test)]
mod tests;
