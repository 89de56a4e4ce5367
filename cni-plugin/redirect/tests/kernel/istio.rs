//! The rules that istio-cni puts into a pod and how it takes them out, as facts to take over from and to hand back to.

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Kind, Variant};

/// A shell command that enrols the pod it runs in.
pub(crate) fn enrol(kind: Kind) -> String {
    let rules = match kind {
        Kind::Nftables => format!("nft -f - <<'END'\n{}END\n", nft()),
        Kind::Iptables(variant) => Family::ALL
            .map(|family| {
                let (stem, infix) = names(family, variant);
                format!("{stem}-{infix}-restore --noflush <<'END'\n{}END\n", iptables(family))
            })
            .concat(),
    };
    format!(
        "for family in -4 -6; do
           ip $family rule show | grep -q 'fwmark 0x111' ||
             ip $family rule add fwmark 0x111/0xfff pref 32764 lookup 100
         done
         ip -4 route replace local 0.0.0.0/0 dev lo table 100
         ip -6 route replace local ::/0 dev lo table 100
         {rules}"
    )
}

/// A shell command that withdraws the pod it runs in, by names alone, as istio-cni does; what is not there is no error.
pub(crate) fn withdraw(kind: Kind) -> String {
    let rules = match kind {
        Kind::Nftables => ["nat", "mangle", "raw"]
            .map(|table| {
                format!(
                    "nft 'add table inet istio-ambient-{table}; delete table inet istio-ambient-{table}'\n"
                )
            })
            .concat(),
        Kind::Iptables(variant) => Family::ALL
            .map(|family| {
                let (stem, infix) = names(family, variant);
                format!(
                    "t={stem}-{infix}
                     for table in mangle nat raw; do
                       $t -t $table -D PREROUTING -j ISTIO_PRERT || true
                       $t -t $table -D OUTPUT -j ISTIO_OUTPUT || true
                     done
                     for do in F X; do for table in mangle nat raw; do for chain in PRERT OUTPUT; do
                       $t -t $table -$do ISTIO_$chain || true
                     done; done; done\n"
                )
            })
            .concat(),
    };
    format!(
        "{{ {rules}
         for family in -4 -6; do
           ip $family rule del fwmark 0x111/0xfff pref 32764 lookup 100; ip $family route flush table 100
         done; }} 2>/dev/null"
    )
}

fn names(family: Family, variant: Variant) -> (&'static str, &'static str) {
    let stem = if family == Family::V4 { "iptables" } else { "ip6tables" };
    (stem, if variant == Variant::Legacy { "legacy" } else { "nft" })
}

/// With DNS capture, which our plan then ends.
fn iptables(family: Family) -> String {
    let (loopback, probe) = addresses(family);
    format!(
        "*mangle
-N ISTIO_OUTPUT
-N ISTIO_PRERT
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
*nat
-N ISTIO_OUTPUT
-N ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A PREROUTING -j ISTIO_PRERT
-A ISTIO_PRERT -s {probe} -p tcp -m tcp -j ACCEPT
-A ISTIO_OUTPUT -d {probe} -p tcp -m tcp -j ACCEPT
-A ISTIO_PRERT ! -d {loopback} -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT ! -o lo -p udp -m mark ! --mark 0x539/0xfff -m udp --dport 53 -j REDIRECT --to-ports 15053
-A ISTIO_OUTPUT ! -d {loopback} -p tcp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053
-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A ISTIO_OUTPUT ! -d {loopback} -o lo -j ACCEPT
-A ISTIO_OUTPUT ! -d {loopback} -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
*raw
-N ISTIO_OUTPUT
-N ISTIO_PRERT
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -p udp -m mark --mark 0x539/0xfff -m udp --dport 53 -j CT --zone 1
-A ISTIO_PRERT -p udp -m mark ! --mark 0x539/0xfff -m udp --sport 53 -j CT --zone 1
COMMIT
"
    )
}

fn addresses(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::V4 => ("127.0.0.1/32", "169.254.7.127"),
        Family::V6 => ("::1/128", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"),
    }
}

fn nft() -> String {
    let tables = ["nat", "mangle", "raw"].map(|table| {
        let name = format!("inet istio-ambient-{table}");
        let (kind, out, priority) = match table {
            "nat" => ("nat", "nat", -100),
            "mangle" => ("filter", "route", -150),
            _ => ("filter", "filter", -300),
        };
        format!(
            "add table {name}\nflush table {name}
add chain {name} prerouting {{ type {kind} hook prerouting priority {priority}; }}
add chain {name} output {{ type {out} hook output priority {priority}; }}
add chain {name} istio-prerouting\nadd chain {name} istio-output
add rule {name} prerouting jump istio-prerouting\nadd rule {name} output jump istio-output\n"
        )
    });
    let sides = [("ip", Family::V4), ("ip6", Family::V6)].map(|(ip, family)| {
        let (loopback, probe) = addresses(family);
        format!(
            "add rule inet istio-ambient-nat istio-prerouting meta l4proto tcp {ip} saddr {probe} counter accept
add rule inet istio-ambient-nat istio-prerouting {ip} daddr != {loopback} tcp dport != 15008 meta mark and 0xfff != 0x539 counter redirect to :15006
add rule inet istio-ambient-nat istio-output meta l4proto tcp {ip} daddr {probe} counter accept
add rule inet istio-ambient-nat istio-output oifname != lo meta mark and 0xfff != 0x539 udp dport 53 counter redirect to :15053
add rule inet istio-ambient-nat istio-output {ip} daddr != {loopback} tcp dport 53 meta mark and 0xfff != 0x539 counter redirect to :15053
add rule inet istio-ambient-nat istio-output meta l4proto tcp meta mark and 0xfff == 0x111 counter accept
add rule inet istio-ambient-nat istio-output oifname lo {ip} daddr != {loopback} counter accept
add rule inet istio-ambient-nat istio-output meta l4proto tcp {ip} daddr != {loopback} meta mark and 0xfff != 0x539 counter redirect to :15001\n"
        )
    });
    tables.concat()
        + &sides.concat()
        + "add rule inet istio-ambient-mangle istio-prerouting meta mark and 0xfff == 0x539 counter ct mark set ct mark and 0xfffff000 or 0x111
add rule inet istio-ambient-mangle istio-output ct mark and 0xfff == 0x111 counter meta mark set ct mark
add rule inet istio-ambient-raw istio-output udp dport 53 meta mark and 0xfff == 0x539 counter ct zone set 1
add rule inet istio-ambient-raw istio-prerouting udp sport 53 meta mark and 0xfff != 0x539 counter ct zone set 1
"
}
