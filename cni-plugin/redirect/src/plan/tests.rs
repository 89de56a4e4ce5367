use super::*;

#[test]
fn a_plain_pod_wants_marks_and_redirection_in_both_families() {
    check(Settings::default(), PodOverrides::default(), Family::V4, PLAIN_V4);
    check(Settings::default(), PodOverrides::default(), Family::V6, PLAIN_V6);
}

#[test]
fn every_redirection_of_tcp_spares_connections_that_exist() {
    let settings = Settings { dns: true, ..Settings::default() };
    let pod = PodOverrides { virtual_interfaces: vec!["br0".parse().unwrap()], ..PodOverrides::default() };
    let plan = plan(&settings, &pod, DnsListeners::ALL);
    let mut redirections = 0;
    for family in Family::ALL {
        let nat = plan.table(family, Table::Nat).unwrap();
        for rule in nat.prerouting.iter().chain(&nat.output) {
            if matches!(rule.target, Target::Redirect(_))
                && rule.matches.contains(&Match::Protocol(Protocol::Tcp))
            {
                assert!(rule.matches.contains(&Match::Begins), "{rule:?}");
                redirections += 1;
            }
        }
    }
    assert_eq!(redirections, 8);
}

#[test]
fn without_ipv6_there_is_one_family() {
    let settings = Settings { ipv6: false, ..Settings::default() };
    let plan = plan(&settings, &PodOverrides::default(), DnsListeners::ALL);
    assert_eq!(plan.families().collect::<Vec<_>>(), [Family::V4]);
    assert_eq!(plan.table(Family::V6, Table::Nat), None);
}

#[test]
fn an_ingress_pod_takes_plaintext_itself_but_keeps_its_marks() {
    let pod = PodOverrides { ingress: true, ..PodOverrides::default() };
    check(Settings::default(), pod, Family::V4, INGRESS_V4);
}

#[test]
fn captured_dns_brings_its_rules_and_a_zone_of_its_own() {
    let settings = Settings { dns: true, ..Settings::default() };
    check(settings, PodOverrides::default(), Family::V4, DNS_V4);
}

#[test]
fn a_pod_overrides_the_nodes_word_on_dns() {
    for (node, pod, want) in
        [(true, Some(false), false), (false, Some(true), true), (true, None, true), (false, None, false)]
    {
        let settings = Settings { dns: node, ..Settings::default() };
        let plan = plan(&settings, &PodOverrides { dns: pod, ..PodOverrides::default() }, DnsListeners::ALL);
        assert_eq!(plan.table(Family::V4, Table::Raw).is_some(), want, "node {node}, pod {pod:?}");
    }
}

#[test]
fn dns_rules_come_with_the_listener_of_their_family() {
    let settings = Settings { dns: true, ..Settings::default() };
    for (listeners, want) in [
        (DnsListeners::default(), [false, false]),
        (DnsListeners { v4: true, v6: false }, [true, false]),
        (DnsListeners { v4: false, v6: true }, [false, true]),
        (DnsListeners::ALL, [true, true]),
    ] {
        let plan = plan(&settings, &PodOverrides::default(), listeners);
        let has = |family| {
            let redirects = plan.table(family, Table::Nat).unwrap().output.iter();
            let nat = redirects.filter(|rule| rule.target == Target::Redirect(DNS_PORT)).count();
            assert!(matches!(nat, 0 | 2), "{nat} rules");
            assert_eq!(nat == 2, plan.table(family, Table::Raw).is_some());
            nat == 2
        };
        assert_eq!(Family::ALL.map(has), want, "{listeners:?}");
    }
    let plan = plan(&Settings::default(), &PodOverrides::default(), DnsListeners::ALL);
    assert_eq!(plan.table(Family::V4, Table::Raw), None, "a listener alone captures nothing");
}

#[test]
fn traffic_of_virtual_interfaces_is_outbound_and_comes_first() {
    let pod = PodOverrides {
        virtual_interfaces: vec!["br0".parse().unwrap(), "docker+".parse().unwrap()],
        ingress: true,
        ..PodOverrides::default()
    };
    check(Settings::default(), pod, Family::V4, VIRTUAL_V4);
}

#[test]
fn probe_addresses_are_the_nodes() {
    let settings = Settings { probe_v4: Ipv4Addr::new(169, 254, 9, 9), ..Settings::default() };
    let text = render::rules(&plan(&settings, &PodOverrides::default(), DnsListeners::ALL), Family::V4);
    assert!(text.contains("-s 169.254.9.9 ") && !text.contains("169.254.7.127"), "{text}");
}

#[test]
fn the_hash_follows_the_rules_and_nothing_else() {
    let one = plan(&Settings::default(), &PodOverrides::default(), DnsListeners::ALL);
    let same = plan(
        &Settings::default(),
        &PodOverrides { dns: Some(false), ..PodOverrides::default() },
        DnsListeners::ALL,
    );
    let other =
        plan(&Settings { ipv6: false, ..Settings::default() }, &PodOverrides::default(), DnsListeners::ALL);
    assert_eq!(one.hash(), same.hash());
    assert_ne!(one.hash(), other.hash());
}

#[test]
fn a_name_that_could_smuggle_words_into_a_rule_is_refused() {
    for name in [
        "",
        "a b",
        "eth0\n-A OUTPUT",
        "eth0 -j ACCEPT",
        "-j",
        "..",
        "0123456789abcdef",
        "a/b",
        "é",
        "a\"b",
        "!",
    ] {
        assert_eq!(name.parse::<InterfaceName>(), Err(InterfaceNameError(name.to_owned())));
    }
    for name in ["eth0", "br-a1b2", "docker+", "veth@if3", "vlan.7"] {
        assert_eq!(name.parse::<InterfaceName>().unwrap().to_string(), name);
    }
}

#[track_caller]
fn check(settings: Settings, pod: PodOverrides, family: Family, want: &str) {
    let text = render::rules(&plan(&settings, &pod, DnsListeners::ALL), family);
    let rules: Vec<&str> = text.lines().filter(|line| !line.starts_with(':') && *line != "COMMIT").collect();
    let want: Vec<&str> = want.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(rules, want);
}

const PLAIN_V4: &str = "
    *mangle
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
    -A ISTIO_PRERT ! -s 169.254.7.127 ! -d 127.0.0.1 ! -i lo -p tcp -m tcp ! --dport 15008 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -m conntrack --ctstate INVALID -j DROP
    -A ISTIO_PRERT ! -s 169.254.7.127 ! -d 127.0.0.1 ! -i lo -p tcp -m tcp ! --dport 15008 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -m conntrack ! --ctstate DNAT --ctstatus CONFIRMED -j DROP
    -A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
    *nat
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -s 169.254.7.127 -p tcp -m tcp -j ACCEPT
    -A ISTIO_PRERT ! -d 127.0.0.1 -p tcp -m tcp ! --dport 15008 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
    -A ISTIO_OUTPUT -d 169.254.7.127 -p tcp -m tcp -j ACCEPT
    -A ISTIO_OUTPUT -p tcp -m tcp -m mark --mark 0x111/0xfff -j ACCEPT
    -A ISTIO_OUTPUT ! -d 127.0.0.1 -o lo -j ACCEPT
    -A ISTIO_OUTPUT ! -d 127.0.0.1 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
";

const PLAIN_V6: &str = "
    *mangle
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
    -A ISTIO_PRERT ! -s fd16:9254:7127:1337:ffff:ffff:ffff:ffff ! -d ::1 ! -i lo -p tcp -m tcp ! --dport 15008 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -m conntrack --ctstate INVALID -j DROP
    -A ISTIO_PRERT ! -s fd16:9254:7127:1337:ffff:ffff:ffff:ffff ! -d ::1 ! -i lo -p tcp -m tcp ! --dport 15008 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -m conntrack ! --ctstate DNAT --ctstatus CONFIRMED -j DROP
    -A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
    *nat
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -s fd16:9254:7127:1337:ffff:ffff:ffff:ffff -p tcp -m tcp -j ACCEPT
    -A ISTIO_PRERT ! -d ::1 -p tcp -m tcp ! --dport 15008 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
    -A ISTIO_OUTPUT -d fd16:9254:7127:1337:ffff:ffff:ffff:ffff -p tcp -m tcp -j ACCEPT
    -A ISTIO_OUTPUT -p tcp -m tcp -m mark --mark 0x111/0xfff -j ACCEPT
    -A ISTIO_OUTPUT ! -d ::1 -o lo -j ACCEPT
    -A ISTIO_OUTPUT ! -d ::1 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
";

const INGRESS_V4: &str = "
    *mangle
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
    -A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
    *nat
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_OUTPUT -d 169.254.7.127 -p tcp -m tcp -j ACCEPT
    -A ISTIO_OUTPUT -p tcp -m tcp -m mark --mark 0x111/0xfff -j ACCEPT
    -A ISTIO_OUTPUT ! -d 127.0.0.1 -o lo -j ACCEPT
    -A ISTIO_OUTPUT ! -d 127.0.0.1 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
";

const VIRTUAL_V4: &str = "
    *mangle
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
    -A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
    *nat
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -i br0 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j REDIRECT --to-ports 15001
    -A ISTIO_PRERT -i br0 -p tcp -m tcp -j RETURN
    -A ISTIO_PRERT -i docker+ -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j REDIRECT --to-ports 15001
    -A ISTIO_PRERT -i docker+ -p tcp -m tcp -j RETURN
    -A ISTIO_OUTPUT -d 169.254.7.127 -p tcp -m tcp -j ACCEPT
    -A ISTIO_OUTPUT -p tcp -m tcp -m mark --mark 0x111/0xfff -j ACCEPT
    -A ISTIO_OUTPUT ! -d 127.0.0.1 -o lo -j ACCEPT
    -A ISTIO_OUTPUT ! -d 127.0.0.1 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
";

const DNS_V4: &str = "
    *raw
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -p udp -m udp --sport 53 -m mark ! --mark 0x539/0xfff -j CT --zone 1
    -A ISTIO_OUTPUT -p udp -m udp --dport 53 -m mark --mark 0x539/0xfff -j CT --zone 1
    *mangle
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
    -A ISTIO_PRERT ! -s 169.254.7.127 ! -d 127.0.0.1 ! -i lo -p tcp -m tcp ! --dport 15008 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -m conntrack --ctstate INVALID -j DROP
    -A ISTIO_PRERT ! -s 169.254.7.127 ! -d 127.0.0.1 ! -i lo -p tcp -m tcp ! --dport 15008 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -m conntrack ! --ctstate DNAT --ctstatus CONFIRMED -j DROP
    -A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
    *nat
    -I PREROUTING -j ISTIO_PRERT
    -I OUTPUT -j ISTIO_OUTPUT
    -A ISTIO_PRERT -s 169.254.7.127 -p tcp -m tcp -j ACCEPT
    -A ISTIO_PRERT ! -d 127.0.0.1 -p tcp -m tcp ! --dport 15008 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
    -A ISTIO_OUTPUT -d 169.254.7.127 -p tcp -m tcp -j ACCEPT
    -A ISTIO_OUTPUT ! -o lo -p udp -m udp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053
    -A ISTIO_OUTPUT ! -d 127.0.0.1 -p tcp -m tcp --dport 53 --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053
    -A ISTIO_OUTPUT -p tcp -m tcp -m mark --mark 0x111/0xfff -j ACCEPT
    -A ISTIO_OUTPUT ! -d 127.0.0.1 -o lo -j ACCEPT
    -A ISTIO_OUTPUT ! -d 127.0.0.1 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
";
