//! How connections end: every sequence of closing, half-closing and resetting, with the mesh and without it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;
use tests::lab::{Netns, Pod};

use super::{captured, meshed, uncaptured};

/// One thing that one side does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Sends so many bytes.
    Say(usize),
    /// Receives so many.
    Hear(usize),
    /// Sends FIN, and goes on receiving.
    Finish,
    /// Receives to the end.
    Drain,
    /// Closes, with whatever is unread.
    Close,
    /// Closes with a reset.
    Reset,
}

use Act::{Close, Drain, Finish, Hear, Reset, Say};

/// What both sides do, and what it is called. Each lets the other know with bytes, so that both happen in one order.
const SEQUENCES: &[(&str, &[Act], &[Act])] = &[
    ("the client closes", &[Say(5), Hear(5), Close], &[Hear(5), Say(5), Drain, Close]),
    ("the server closes", &[Say(5), Hear(5), Drain, Close], &[Hear(5), Say(5), Close]),
    ("the client finishes, the server answers", &[Say(5), Finish, Drain, Close], &[Drain, Say(9), Close]),
    ("the server finishes, the client goes on", &[Hear(5), Say(9), Close], &[Say(5), Finish, Drain, Close]),
    ("both finish, client first", &[Finish, Drain, Close], &[Drain, Finish, Close]),
    ("both finish, server first", &[Drain, Finish, Close], &[Finish, Drain, Close]),
    ("the client finishes and the server resets", &[Say(5), Finish, Drain, Close], &[Hear(5), Reset]),
    ("the server finishes and the client resets", &[Hear(5), Say(5), Reset], &[Say(5), Finish, Drain, Close]),
    ("the client resets at once", &[Reset], &[Drain, Close]),
    ("the server resets at once", &[Say(1), Drain, Close], &[Hear(1), Reset]),
    ("the client resets in the middle", &[Say(5), Hear(5), Reset], &[Hear(5), Say(5), Drain, Close]),
    ("the server resets in the middle", &[Say(5), Hear(5), Drain, Close], &[Hear(5), Say(5), Reset]),
    ("the client closes with something unread", &[Hear(1), Close], &[Say(100), Drain, Close]),
    ("the server closes with something unread", &[Say(100), Drain, Close], &[Hear(1), Close]),
    ("the server says all and closes at once", &[Drain, Close], &[Say(100_000), Close]),
    ("the client says all and closes at once", &[Say(100_000), Close], &[Drain, Close]),
    ("nobody says anything, the client closes", &[Close], &[Drain, Close]),
    ("nobody says anything, the server closes", &[Drain, Close], &[Close]),
];

/// How one side saw the other's half end, and how many bytes had come by then. Bytes before a reset may be lost on any
/// way, and are not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Fin(usize),
    Reset,
    NotLooked,
}

pub(crate) fn every_sequence_of_endings_is_as_without_the_mesh() {
    let lab = meshed();
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "server", "b"));
    let near = captured(&lab, "near", "a");
    let (plain, outside) = (uncaptured(&lab, "plain", "a"), uncaptured(&lab, "outside", "b"));
    for (at, (what, asks, answers)) in (0u16..).zip(SEQUENCES) {
        let play = |from: &Pod, to: &Pod| play(from.netns(), to.netns(), to.at(7100 + at), asks, answers);
        let direct = play(&plain, &outside);
        for (way, from, to) in [
            ("between nodes", &client, &server),
            ("on one node", &client, &near),
            ("into the mesh", &plain, &server),
        ] {
            assert_eq!(play(from, to), direct, "{what}, {way}: through the mesh, and directly");
        }
    }
}

/// What client and server see.
fn play(from: &Netns, to: &Netns, at: SocketAddr, asks: &[Act], answers: &[Act]) -> (Seen, Seen) {
    let listener = to.run(|| TcpListener::bind(SocketAddr::new(at.ip(), at.port()))).expect("listen");
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| act(listener.accept().expect("a client").0, answers));
        let client = from.run(|| TcpStream::connect_timeout(&at, LIMIT)).expect("connect");
        let asked = act(client, asks);
        (asked, serving.join().expect("the server"))
    })
}

fn act(mut stream: TcpStream, acts: &[Act]) -> Seen {
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let mut seen = Seen::NotLooked;
    for act in acts {
        match act {
            // Failing is the other side's doing, and is seen in what is received.
            Say(bytes) => drop(stream.write_all(&vec![b'x'; *bytes])),
            Hear(bytes) => {
                if let Err(error) = stream.read_exact(&mut vec![0; *bytes]) {
                    panic!("hear {bytes} bytes of {acts:?}: {error}");
                }
            }
            Finish => drop(stream.shutdown(Shutdown::Write)),
            Drain => seen = drain(&mut stream),
            Close => return seen,
            Reset => {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
                return seen;
            }
        }
    }
    seen
}

fn drain(stream: &mut TcpStream) -> Seen {
    let mut buffer = [0; 16_384];
    let mut heard = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Seen::Fin(heard),
            Ok(bytes) => heard += bytes,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Seen::Reset,
            Err(error) => panic!("receive to the end: {error}"),
        }
    }
}

const LIMIT: Duration = Duration::from_secs(15);
