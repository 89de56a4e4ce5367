//! Which proxy serves which pods, for whoever looks into it.

use std::collections::BTreeMap;

use cni_plugin_wire::zds::PodUid;
use serde::Serialize;

use super::{Booked, Line, Server, State};

/// Everything the server knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Served {
    /// Whether proxies are given their snapshot yet.
    pub complete: bool,
    /// The newest last: it is the one that gets new pods.
    pub proxies: Vec<ProxyState>,
    /// Pods that live, and whose namespace is not known: proxies are told to leave them alone.
    pub kept: Vec<String>,
}

/// One connected proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxyState {
    /// Counted from the agent's start.
    pub connection: u64,
    pub connected_for_s: u64,
    /// UIDs of pods and the network namespace that the proxy acknowledged, as `device:inode`.
    pub serves: BTreeMap<String, String>,
    /// UIDs of pods that it should know and has not acknowledged. Only the newest is given pods that come.
    pub lacks: Vec<String>,
}

impl Server {
    /// What is booked, and what each proxy acknowledged of it.
    #[must_use]
    pub fn dump(&self) -> Served {
        let complete = *self.0.complete.borrow();
        let state = self.0.state.lock();
        let kept = |(uid, booked): (&PodUid, &Booked)| matches!(booked, Booked::Kept).then(|| uid.0.clone());
        Served {
            complete,
            proxies: state.lines.iter().map(|line| state.proxy(line)).collect(),
            kept: state.book.iter().filter_map(kept).collect(),
        }
    }
}

impl State {
    fn proxy(&self, line: &Line) -> ProxyState {
        let lacks = self.book.iter().filter_map(|(uid, booked)| {
            let Booked::Served { netns, .. } = booked else { return None };
            (line.delivered.get(uid) != Some(&netns.id())).then(|| uid.0.clone())
        });
        let serves =
            line.delivered.iter().map(|(uid, id)| (uid.0.clone(), format!("{}:{}", id.dev, id.inode)));
        ProxyState {
            connection: line.number,
            connected_for_s: line.since.elapsed().as_secs(),
            serves: serves.collect(),
            lacks: lacks.collect(),
        }
    }
}
