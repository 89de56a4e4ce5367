//! The resolver's own file, resolv.conf(5): which name servers there are and how they are to be asked.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What `/etc/resolv.conf` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// Asked in this order; may be empty.
    pub servers: Vec<SocketAddr>,
    /// Domains to append to short names.
    pub search: Vec<String>,
    /// How long an answer is waited for, whichever server is asked.
    pub timeout: Duration,
    /// How often the list of servers is gone through.
    pub attempts: u32,
    /// Begin with another server each time.
    pub rotate: bool,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
        }
    }
}

impl ResolvConf {
    /// Reads the file; one that is not there names no server.
    pub(super) fn read(path: &str) -> Self {
        std::fs::read_to_string(path).map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    /// What cannot be read is passed over, as other resolvers do.
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            match words.next() {
                Some("nameserver") => {
                    // An address with an interface in it means something on one link only, and a pod has another.
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    found.servers.extend(server.map(|ip| SocketAddr::new(ip, DNS)));
                }
                // Of several lines the last counts.
                Some("search" | "domain") => {
                    found.search = words
                        .map(|word| word.trim_end_matches('.').to_ascii_lowercase())
                        .filter(|domain| !domain.is_empty())
                        .collect();
                }
                Some("options") => words.for_each(|option| found.option(option)),
                Some(_) | None => {}
            }
        }
        found.servers.truncate(MOST_SERVERS);
        found
    }

    /// How long one of the servers is waited for: with others to ask, not as long as clients wait for all of them.
    pub(crate) fn patience(&self) -> Duration {
        let servers = u32::try_from(self.servers.len()).unwrap_or(u32::MAX).max(1);
        (self.timeout / servers).max(SHORTEST).min(self.timeout)
    }

    fn option(&mut self, option: &str) {
        match option.split_once(':') {
            Some(("timeout", seconds)) => {
                if let Ok(seconds) = seconds.parse::<u64>() {
                    self.timeout = Duration::from_secs(seconds.clamp(1, 30));
                }
            }
            Some(("attempts", attempts)) => {
                if let Ok(attempts) = attempts.parse::<u32>() {
                    self.attempts = attempts.clamp(1, 5);
                }
            }
            None if option == "rotate" => self.rotate = true,
            Some(_) | None => {}
        }
    }
}

const DNS: u16 = 53;
/// What a server may take that has to ask others.
const SHORTEST: Duration = Duration::from_secs(1);
/// As many as other resolvers read.
const MOST_SERVERS: usize = 3;
