//! What settings and limits change for the process and for traffic.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd};
use socket2::{Socket, Type};
use tests::lab::{Lab, Process, Server, Speaks, eventually};

use super::captured;

pub(crate) fn data_is_carried_by_as_many_threads_as_were_asked_for() {
    let lab = Lab::new().one_node().proxy_env("ZTUNNEL_WORKER_THREADS", "3").start();
    let proxy = lab.node("a").proxy();
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("tokio_num_workers", &[]).to_string(), "3");
    let of_workers = metrics.matching("tokio_worker_park_count_total", &[]).count();
    assert_eq!(of_workers, 3, "each is counted by itself");
    // The first thread of the process is none of them: xDS, certificates, admin and metrics are served there.
    let threads = fs::read_dir(format!("/proc/{}/task", proxy.process().pid())).expect("a running process");
    assert!(threads.count() >= 4);
}

pub(crate) fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    // What begins from here on inherits it.
    setrlimit(Resource::RLIMIT_NOFILE, 512.min(hard), hard).expect("a lower limit");
    let proxy = node.begin_proxy(|spec| spec);
    proxy.wait_ready();
    let limits = fs::read_to_string(format!("/proc/{}/limits", proxy.process().pid())).expect("limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("one of files");
    let mut told = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    assert_eq!((told.next(), told.next()), (Some(hard), Some(hard)), "{line}");
}

pub(crate) fn an_interrupt_drains_and_a_second_one_ends_at_once() {
    let lab = Lab::new().one_node().proxy_env("CONNECTION_TERMINATION_DEADLINE", "1h").start();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "a"));
    let _echo = server.serve(7001, Speaks::Echo);
    let mut open = client.connect(server.at(7001));
    open.echo("before");
    let proxy = lab.node("a").proxy();
    proxy.process().signal(Signal::SIGINT);
    eventually("nothing new is taken", || match client.try_connect(server.at(7001)) {
        Err(_) => Ok(()),
        Ok(_) => Err("a new connection was taken"),
    });
    open.echo("while it drains");
    assert_eq!(proxy.process().ended(), None);
    proxy.process().signal(Signal::SIGINT);
    let status = proxy.process().wait();
    assert!(status.success(), "{status}");
}

pub(crate) fn a_port_of_the_node_that_is_taken_ends_the_start() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    node.proxy().process().kill();
    for port in [15_000, 15_020, 15_021] {
        let squatter = Server::start(node.netns(), port, Speaks::Echo);
        let mut spec = node.proxy_spec();
        spec.log = node.home().join(format!("taken-{port}.log"));
        let process = spec.start().process().clone();
        let status = process.wait();
        assert!(!status.success(), "port {port} is taken, and it runs");
        assert!(process.log().contains("in use"), "{port}:\n{}", process.log());
        drop(squatter);
    }
}

pub(crate) fn sockets_of_traffic_are_marked_kept_alive_and_send_at_once() {
    let lab = Lab::new()
        .one_node()
        .proxy_env("KEEPALIVE_TIME", "100s")
        .proxy_env("KEEPALIVE_INTERVAL", "20s")
        .proxy_env("KEEPALIVE_RETRIES", "3")
        .proxy_env("USER_TIMEOUT_ENABLED", "true")
        .start();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "a"));
    let _echo = server.serve(7001, Speaks::Echo);
    let mut open = client.connect(server.at(7001));
    open.echo("hello");
    let sockets = sockets(lab.node("a").proxy().process());
    let of_pods: Vec<_> = sockets
        .iter()
        .filter(|(local, peer, _)| {
            [local, peer].iter().any(|at| [client.ip(), server.ip()].contains(&at.ip().to_canonical()))
        })
        .collect();
    // What the client's proxy accepted and dialed, and what the server's dialed; an accepted tunnel is the peer's to
    // keep alive.
    let ours: Vec<_> = of_pods.iter().filter(|(local, ..)| local.port() != 15_008).collect();
    assert!(ours.len() >= 3, "{of_pods:?}");
    for (local, peer, socket) in ours {
        let told = format!("{local} - {peer}");
        assert_eq!(socket.mark().expect("a mark"), 1_337, "{told}");
        assert!(socket.tcp_nodelay().expect("an option"), "{told}");
        assert!(socket.keepalive().expect("an option"), "{told}");
        assert_eq!(socket.tcp_keepalive_time().expect("a time"), Duration::from_secs(100), "{told}");
        assert_eq!(socket.tcp_keepalive_interval().expect("a time"), Duration::from_secs(20), "{told}");
        assert_eq!(socket.tcp_keepalive_retries().expect("a number"), 3, "{told}");
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(Duration::from_secs(160)), "{told}");
    }
}

/// The connected TCP sockets of a process, looked at from outside.
fn sockets(process: &Process) -> Vec<(SocketAddr, SocketAddr, Socket)> {
    let pid = rustix::process::Pid::from_raw(process.pid()).expect("a process");
    let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("a handle of the process");
    let names = fs::read_dir(format!("/proc/{}/fd", process.pid())).expect("a running process");
    let numbers = names.filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok());
    let copies = numbers.filter_map(|number| pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()).ok());
    copies
        .map(Socket::from)
        .filter(|socket| socket.r#type().is_ok_and(|kind| kind == Type::STREAM))
        .filter_map(|socket| {
            let local = socket.local_addr().ok()?.as_socket()?;
            Some((local, socket.peer_addr().ok()?.as_socket()?, socket))
        })
        .collect()
}

pub(crate) fn the_application_sees_its_own_pod_when_original_sources_are_off() {
    let lab = Lab::new().proxy_env("ENABLE_ORIG_SRC", "false").start();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
    let echo = server.serve(7001, Speaks::Echo);
    client.connect(server.at(7001)).echo("hello");
    let peers: Vec<_> = echo.served().iter().map(|served| served.peer.ip()).collect();
    assert!(!peers.is_empty() && !peers.contains(&client.ip()), "{peers:?}");
}
