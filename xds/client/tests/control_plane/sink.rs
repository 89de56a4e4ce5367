//! Takes down everything the client hands on, refusing what it is told to refuse.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use xds_client::{AdsEvent, Refusal, Sink, Termination, Update};

use crate::istiod::soon;

#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Update(Update),
    Event(AdsEvent),
}

pub(crate) struct Recorder {
    seen: UnboundedSender<Seen>,
    /// Names that are refused.
    refused: Vec<&'static str>,
    /// Names that make `apply` panic.
    deadly: Vec<&'static str>,
}

pub(crate) struct Record(UnboundedReceiver<Seen>);

pub(crate) fn recorder(refused: &[&'static str], deadly: &[&'static str]) -> (Recorder, Record) {
    let (seen, record) = unbounded_channel();
    (Recorder { seen, refused: refused.to_vec(), deadly: deadly.to_vec() }, Record(record))
}

impl Sink for Recorder {
    fn apply(&self, update: Update) -> Vec<Refusal> {
        let has = |names: &[&str], name: &str| names.contains(&name);
        let names: Vec<String> = update.resources.iter().map(|resource| resource.name.clone()).collect();
        if names.iter().any(|name| has(&self.deadly, name)) {
            panic!("this resource is deadly");
        }
        self.seen.send(Seen::Update(update)).ok();
        let refuse = |name| Refusal { name, why: "not good".to_owned() };
        names.into_iter().filter(|name| has(&self.refused, name)).map(refuse).collect()
    }

    fn event(&self, event: AdsEvent) {
        self.seen.send(Seen::Event(event)).ok();
    }
}

impl Record {
    pub(crate) async fn next(&mut self) -> Seen {
        soon("a call of the sink", self.0.recv()).await.unwrap()
    }

    /// The next update, its events left out.
    pub(crate) async fn update(&mut self) -> Update {
        loop {
            if let Seen::Update(update) = self.next().await {
                return update;
            }
        }
    }

    /// The next ending, everything before it left out.
    pub(crate) async fn termination(&mut self) -> Termination {
        loop {
            if let Seen::Event(AdsEvent::Terminated(termination)) = self.next().await {
                return termination;
            }
        }
    }
}
