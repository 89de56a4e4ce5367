//! The host's side of probes: what its rules and sets hold after each step, and whose connections they change.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use cni_plugin_redirect::host::{HandedBack, Host, HostSettings, Target, Who};
use cni_plugin_redirect::{Kind, Settings, Variant};

use crate::lab::{self, Namespace};

/// A name and what it promises.
type Row = (&'static str, fn(&Rig));

pub(crate) const TESTS: &[Row] = &[
    ("sets_and_rules_come_back_as_they_were_written", sets_and_rules_come_back_as_they_were_written),
    ("only_differences_are_written", only_differences_are_written),
    ("every_tampering_on_the_host_is_repaired", every_tampering_on_the_host_is_repaired),
    ("foreign_rules_and_sets_on_the_host_stay", foreign_rules_and_sets_on_the_host_stay),
    ("removal_from_the_host_leaves_nothing_and_may_be_repeated", removal_leaves_nothing_and_may_be_repeated),
    ("a_new_agent_reads_what_the_last_one_left", a_new_agent_reads_what_the_last_one_left),
    ("only_the_kubelet_reaches_a_declared_port_as_the_probe_source", only_the_kubelet_is_a_probe),
    ("another_user_s_connection_is_no_probe", another_user_s_connection_is_no_probe),
    (
        "rules_of_istio_cni_give_way_to_ours_and_ours_to_them",
        rules_of_istio_cni_give_way_to_ours_and_ours_to_them,
    ),
];

/// One way to load rules.
pub(crate) struct Rig(pub(crate) Kind);

impl Rig {
    fn host(&self, namespace: &Namespace, proc_root: &Path) -> Host {
        let usual = Settings::default();
        let settings = HostSettings {
            probe_v4: usual.probe_v4,
            probe_v6: usual.probe_v6,
            ipv6: true,
            proc_root: proc_root.to_owned(),
            netns: Some(namespace.as_fd().try_clone_to_owned().unwrap()),
            kinds: vec![self.0],
        };
        Host::detect(settings).unwrap()
    }

    /// Everything about probes that the host holds, without counters.
    fn listing(&self, host: &Namespace) -> String {
        host.run(&self.spelled("nft list ruleset; ipset save; iptables-save -t nat; ip6tables-save -t nat"))
            .lines()
            .filter(|line| line.contains("adit") || line.contains("ADIT"))
            .map(|line| format!("{}\n", line.split(" [").next().unwrap()))
            .collect()
    }
}

fn sets_and_rules_come_back_as_they_were_written(rig: &Rig) {
    let namespace = Namespace::new();
    let host = rig.host(&namespace, Path::new("/nowhere"));
    let both = targets(&["10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "[fd00::1]:80"]);
    for wanted in [BTreeSet::new(), both, targets(&["10.0.0.2:80"])] {
        let settled = host.settle(&wanted).unwrap();
        assert_eq!(settled.who, Who::AssumedRoot);
        assert!(settled.change.is_some());
        assert_eq!(host.targets().unwrap(), wanted);
        assert_eq!(host.settle(&wanted).unwrap().change, None);
    }
    assert_eq!(host.kind(), rig.0);
}

fn only_differences_are_written(rig: &Rig) {
    let namespace = Namespace::new();
    let host = rig.host(&namespace, Path::new("/nowhere"));
    host.settle(&targets(&["10.0.0.1:80", "10.0.0.2:80"])).unwrap();
    let change = host.settle(&targets(&["10.0.0.2:80", "[fd00::3]:80"])).unwrap().change.unwrap();
    assert!(!change.rules);
    assert_eq!((change.add, change.delete), (targets(&["[fd00::3]:80"]), targets(&["10.0.0.1:80"])));
}

fn every_tampering_on_the_host_is_repaired(rig: &Rig) {
    let namespace = Namespace::new();
    let host = rig.host(&namespace, Path::new("/nowhere"));
    let wanted = targets(&["10.0.0.1:80", "[fd00::1]:80"]);
    host.settle(&wanted).unwrap();
    let clean = rig.listing(&namespace);
    let tamperings: &[&str] = match rig.0 {
        Kind::Nftables => &[
            "nft flush chain inet adit-probes postrouting",
            "nft insert rule inet adit-probes postrouting accept",
            "nft add rule inet adit-probes postrouting meta mark 1 accept",
            "nft flush set inet adit-probes probes-v4",
            "nft delete element inet adit-probes probes-v6 '{ fd00::1 . 80 }'",
            "nft add element inet adit-probes probes-v4 '{ 10.0.0.9 . 22 }'",
            "nft delete table inet adit-probes",
            "nft flush ruleset",
            "nft delete table inet adit-probes; nft add table inet adit-probes;
             nft add set inet adit-probes probes-v4 '{ type ipv4_addr; }'",
            "nft delete chain inet adit-probes postrouting; nft add chain inet adit-probes postrouting",
        ],
        Kind::Iptables(_) => &[
            "iptables -t nat -F ADIT_PROBES",
            "iptables -t nat -I ADIT_PROBES -j ACCEPT",
            "iptables -t nat -A ADIT_PROBES -m comment --comment 'a b' -j ACCEPT",
            "iptables -t nat -F POSTROUTING",
            "ip6tables -t nat -F POSTROUTING",
            "iptables -t nat -I POSTROUTING -j MASQUERADE; iptables -t nat -A POSTROUTING -j ADIT_PROBES",
            "iptables -t nat -D POSTROUTING -j ADIT_PROBES; iptables -t nat -A POSTROUTING -j ADIT_PROBES",
            "iptables -t nat -F; iptables -t nat -X",
            "ipset flush adit-probes-v4",
            "ipset add adit-probes-v4 10.0.0.9,tcp:22",
        ],
    };
    for tampering in tamperings {
        namespace.run(&rig.spelled(tampering));
        assert!(host.settle(&wanted).unwrap().change.is_some(), "{tampering}");
        assert_eq!(host.settle(&wanted).unwrap().change, None, "{tampering}");
        assert_eq!(host.targets().unwrap(), wanted, "{tampering}");
        assert_eq!(rig.listing(&namespace), clean, "{tampering}");
    }
}

fn foreign_rules_and_sets_on_the_host_stay(rig: &Rig) {
    let namespace = Namespace::new();
    namespace.run(&rig.spelled(
        "nft add table inet mine; nft add chain inet mine post '{ type nat hook postrouting priority 100; }'
         nft add rule inet mine post ip daddr 10.9.9.9 masquerade
         iptables -t nat -A POSTROUTING -d 10.9.9.9 -j MASQUERADE; ipset create mine hash:ip; ipset add mine 10.9.9.9",
    ));
    let foreign = || {
        let all =
            namespace.run(&rig.spelled("nft list table inet mine; iptables-save -t nat; ipset save mine"));
        all.lines().filter(|line| line.contains("10.9.9.9")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = foreign();
    assert_eq!(before.len(), 3, "{before:?}");
    let host = rig.host(&namespace, Path::new("/nowhere"));
    host.settle(&targets(&["10.0.0.1:80"])).unwrap();
    host.settle(&targets(&["10.0.0.2:80"])).unwrap();
    assert_eq!(foreign(), before);
    host.remove_foreign().unwrap();
    host.remove().unwrap();
    assert_eq!(foreign(), before);
}

fn removal_leaves_nothing_and_may_be_repeated(rig: &Rig) {
    let namespace = Namespace::new();
    let host = rig.host(&namespace, Path::new("/nowhere"));
    host.remove().unwrap();
    host.settle(&targets(&["10.0.0.1:80", "[fd00::1]:80"])).unwrap();
    for _ in 0..2 {
        host.remove().unwrap();
        assert_eq!(rig.listing(&namespace), "");
        assert_eq!(host.targets().unwrap(), BTreeSet::new());
    }
}

fn a_new_agent_reads_what_the_last_one_left(rig: &Rig) {
    let namespace = Namespace::new();
    let wanted = targets(&["10.0.0.1:80", "[fd00::1]:80"]);
    rig.host(&namespace, Path::new("/nowhere")).settle(&wanted).unwrap();
    let next = rig.host(&namespace, Path::new("/nowhere"));
    assert_eq!(next.targets().unwrap(), wanted);
    assert_eq!(next.settle(&wanted).unwrap().change, None);
}

fn only_the_kubelet_is_a_probe(rig: &Rig) {
    let (pod, namespace) = Namespace::pair();
    let client = forwarded_client(&pod, &namespace);
    let proc = FakeProc::new(0);
    let host = rig.host(&namespace, &proc.root);
    let who = host.settle(&targets(&["10.88.0.2:8080", "[fd00:88::2]:8080"])).unwrap().who;
    let told = matches!(who, Who::Cgroup { .. });
    assert!(told || who == Who::Uid(0), "{who}");
    // Only nft looks cgroups up, and only root may make them.
    assert_eq!(told, rig.0 == Kind::Nftables && lab::CGROUPS.get().is_some());
    for (ip, probe, own, far) in [
        ("10.88.0.2", "169.254.7.127", "10.88.0.1", "10.99.0.2"),
        ("fd00:88::2", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff", "fd00:88::1", "fd00:99::2"),
    ] {
        let listen =
            |port| pod.inside(|| TcpListener::bind(SocketAddr::new(ip.parse().unwrap(), port)).unwrap());
        let (declared, other) = (listen(8080), listen(8081));
        let seen_by_pod = |from: &Namespace, listener: &TcpListener, kubelet: bool| {
            let to = listener.local_addr().unwrap();
            let connect = || from.inside(|| TcpStream::connect(to).unwrap());
            let _stream = if kubelet { proc.as_kubelet(connect) } else { connect() };
            listener.accept().unwrap().1.ip().to_string()
        };
        assert_eq!(seen_by_pod(&namespace, &declared, true), probe);
        assert_eq!(seen_by_pod(&namespace, &other, true), own, "a port that no probe declares");
        assert_eq!(seen_by_pod(&client, &declared, true), far, "forwarded");
        assert_eq!(
            seen_by_pod(&namespace, &declared, false),
            if told { own } else { probe },
            "another of root's"
        );
    }
}

fn another_user_s_connection_is_no_probe(rig: &Rig) {
    let (pod, namespace) = Namespace::pair();
    let proc = FakeProc::new(4242);
    let host = rig.host(&namespace, &proc.root);
    let settled = host.settle(&targets(&["10.88.0.2:8080"]));
    if lab::has_user(4242) || rig.0 == Kind::Nftables {
        assert_eq!(settled.unwrap().who.uid(), 4242);
    } else {
        // The kernel's match for iptables takes no user that the namespace of users does not have. Sets come
        // before rules, and are of no effect without them.
        assert!(settled.is_err());
    }
    let listener = pod.inside(|| TcpListener::bind("10.88.0.2:8080").unwrap());
    let _stream = proc.as_kubelet(|| namespace.inside(|| TcpStream::connect("10.88.0.2:8080").unwrap()));
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), "10.88.0.1");
}

fn rules_of_istio_cni_give_way_to_ours_and_ours_to_them(rig: &Rig) {
    let namespace = Namespace::new();
    let theirs = match rig.0 {
        Kind::Nftables => {
            "nft -f - <<'END'
table inet istio-ambient-nat {
    set istio-inpod-probes-v4 { type ipv4_addr; elements = { 10.0.0.1 comment \"a-uid\" } }
    set istio-inpod-probes-v6 { type ipv6_addr; elements = { fd00::1 comment \"a-uid\" } }
    chain postrouting {
        type nat hook postrouting priority 100;
        meta l4proto tcp meta skuid 0 ip daddr @istio-inpod-probes-v4 counter snat ip to 169.254.7.127
        meta l4proto tcp meta skuid 0 ip6 daddr @istio-inpod-probes-v6 counter snat ip6 to fd16:9254:7127:1337:ffff:ffff:ffff:ffff
    }
}
END"
        }
        Kind::Iptables(_) => {
            "ipset create istio-inpod-probes-v4 hash:ip comment
             ipset create istio-inpod-probes-v6 hash:ip family inet6 comment
             ipset add istio-inpod-probes-v4 10.0.0.1 comment a-uid
             ipset add istio-inpod-probes-v6 fd00::1 comment a-uid
             iptables -t nat -N ISTIO_POSTRT; iptables -t nat -I POSTROUTING 1 -j ISTIO_POSTRT
             iptables -t nat -A ISTIO_POSTRT -m owner --socket-exists -p tcp -m set --match-set istio-inpod-probes-v4 dst -j SNAT --to-source 169.254.7.127
             ip6tables -t nat -N ISTIO_POSTRT; ip6tables -t nat -I POSTROUTING 1 -j ISTIO_POSTRT
             ip6tables -t nat -A ISTIO_POSTRT -m owner --socket-exists -p tcp -m set --match-set istio-inpod-probes-v6 dst -j SNAT --to-source fd16:9254:7127:1337:ffff:ffff:ffff:ffff"
        }
    };
    let theirs = rig.spelled(theirs);
    let left = || {
        namespace
            .run(&rig.spelled("nft list ruleset; ipset save; iptables-save -t nat; ip6tables-save -t nat"))
    };
    let host = rig.host(&namespace, Path::new("/nowhere"));
    namespace.run(&theirs);
    let wanted = targets(&["10.0.0.1:80", "[fd00::1]:80"]);
    host.settle(&wanted).unwrap();
    assert!(left().to_lowercase().contains("istio"), "theirs serve until ours are told all pods");
    assert!(host.remove_foreign().unwrap());
    assert!(!host.remove_foreign().unwrap());
    assert!(!left().to_lowercase().contains("istio"), "{}", left());
    assert_eq!(host.settle(&wanted).unwrap().change, None);

    assert_eq!(host.hand_back().unwrap(), HandedBack::Kept);
    namespace.run(&theirs);
    host.settle(&targets(&["10.0.0.1:80", "10.0.0.2:80"])).unwrap();
    assert_eq!(host.hand_back().unwrap(), HandedBack::Kept, "theirs do not cover every pod yet");
    host.settle(&wanted).unwrap();
    assert_eq!(host.hand_back().unwrap(), HandedBack::Removed);
    assert_eq!(rig.listing(&namespace), "");
    assert!(left().to_lowercase().contains("istio"));
}

impl Rig {
    /// The command with the variant's own programs.
    fn spelled(&self, command: &str) -> String {
        let variant = if self.0 == Kind::Iptables(Variant::Legacy) { "legacy" } else { "nft" };
        command
            .replace("ip6tables-save", &format!("ip6tables-{variant}-save"))
            .replace("iptables-save", &format!("iptables-{variant}-save"))
            .replace("ip6tables -t", &format!("ip6tables-{variant} -t"))
            .replace("iptables -t", &format!("iptables-{variant} -t"))
    }
}

/// A machine behind the host, whose packets the host forwards.
fn forwarded_client(pod: &Namespace, host: &Namespace) -> Namespace {
    let client = Namespace::new();
    client.wire("eth0", host, "eth1");
    client.run(
        "ip addr add 10.99.0.2/24 dev eth0; ip addr add fd00:99::2/64 dev eth0 nodad; ip link set eth0 up",
    );
    host.run(
        "ip addr add 10.99.0.1/24 dev eth1; ip addr add fd00:99::1/64 dev eth1 nodad; ip link set eth1 up
         echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
    );
    client.run("ip route add default via 10.99.0.1; ip -6 route add default via fd00:99::1");
    pod.run("ip route add default via 10.88.0.1; ip -6 route add default via fd00:88::1");
    client
}

/// A /proc that shows one process: a kubelet, in a cgroup of its own where there can be one.
struct FakeProc {
    root: PathBuf,
    cgroup: Option<PathBuf>,
}

impl FakeProc {
    fn new(uid: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = PathBuf::from(format!("/run/proc-{number}"));
        let process = root.join("77");
        fs::create_dir_all(&process).unwrap();
        let cgroup = lab::CGROUPS.get().map(|parent| {
            let cgroup = parent.join(format!("kubelet-{number}.service"));
            fs::create_dir(&cgroup).unwrap();
            cgroup
        });
        let mount = Path::new("/sys/fs/cgroup");
        let path = cgroup.as_deref().map(|cgroup| cgroup.strip_prefix(mount).unwrap());
        let path = path.map(|path| path.strip_prefix("unified").unwrap_or(path).display().to_string());
        fs::write(process.join("comm"), "kubelet\n").unwrap();
        fs::write(process.join("cmdline"), "/usr/bin/kubelet\0--v=2\0").unwrap();
        fs::write(process.join("status"), format!("Name:\tkubelet\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"))
            .unwrap();
        let zeros = "0 ".repeat(18);
        fs::write(process.join("stat"), format!("77 (kubelet) S {zeros}4711 0\n")).unwrap();
        fs::write(process.join("cgroup"), format!("0::/{}\n", path.unwrap_or_default())).unwrap();
        std::os::unix::fs::symlink("/", process.join("root")).unwrap();
        Self { root, cgroup }
    }

    /// Runs `work` in the kubelet's cgroup: a socket keeps the cgroup of the process that made it.
    fn as_kubelet<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.cgroup {
            None => work(),
            Some(cgroup) => lab::in_cgroup(cgroup, work),
        }
    }
}

impl Drop for FakeProc {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

fn targets(list: &[&str]) -> BTreeSet<Target> {
    list.iter()
        .map(|text| {
            let address: SocketAddr = text.parse().unwrap();
            (address.ip(), address.port())
        })
        .collect()
}
