//! Refusing what would leave a pod past the proxy, for pods that may not speak before their capture is proved: pure.
//!
//! Connections that begin are refused with a reset, unless they stay inside the pod, are the proxy's own, or have been
//! redirected to it. So a pod whose rules are in place is captured as ever, the canary's connection included, and one
//! whose rules are not reaches nobody.

#[cfg(test)]
mod tests;

use crate::plan::PROXY_MARK;

/// The table of family `inet` in native nftables.
pub(crate) const TABLE: &str = "adit-refusal";
/// The chain in iptables' table `filter`.
pub(crate) const CHAIN: &str = "ADIT_REFUSAL";

/// The transaction that refuses, also where something refuses already.
pub(crate) fn nft_transaction() -> String {
    let (value, mask) = (PROXY_MARK.value, PROXY_MARK.mask);
    format!(
        "add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n\tchain output {{\n\
         \t\ttype filter hook output priority 0; policy accept;\n\
         \t\toifname \"lo\" accept\n\t\tmeta mark & {mask:#x} == {value:#x} accept\n\t\tct status & dnat == dnat accept\n\
         \t\ttcp flags & (fin | syn | rst | ack) == syn counter reject with tcp reset\n\t}}\n}}\n"
    )
}

/// The payload for `iptables-restore --noflush` that refuses, given what `iptables-save` prints.
pub(crate) fn iptables_restore(saved: &str) -> String {
    let (value, mask) = (PROXY_MARK.value, PROXY_MARK.mask);
    format!(
        "*filter\n:{CHAIN} - [0:0]\n{}-I OUTPUT -j {CHAIN}\n\
         -A {CHAIN} ! -o lo -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark {value:#x}/{mask:#x} \
         -m conntrack ! --ctstate DNAT -j REJECT --reject-with tcp-reset\nCOMMIT\n",
        without_jumps(saved)
    )
}

/// The payload that refuses nothing any more; `None` when nothing is refused.
pub(crate) fn iptables_remove(saved: &str) -> Option<String> {
    let there = filter(saved).any(|line| line.starts_with(&format!(":{CHAIN} ")));
    there.then(|| format!("*filter\n{}-F {CHAIN}\n-X {CHAIN}\nCOMMIT\n", without_jumps(saved)))
}

fn without_jumps(saved: &str) -> String {
    let end = format!(" -j {CHAIN}");
    let jumps = filter(saved).filter_map(|line| line.strip_prefix("-A ").filter(|rule| rule.ends_with(&end)));
    jumps.map(|rule| format!("-D {rule}\n")).collect()
}

/// The lines of table `filter`.
fn filter(saved: &str) -> impl Iterator<Item = &str> {
    saved.lines().map(str::trim).skip_while(|line| *line != "*filter").take_while(|line| *line != "COMMIT")
}
