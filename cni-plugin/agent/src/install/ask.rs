//! Asks the API server about the agent's own DaemonSet and Node, as long as an ending pod has time to.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use super::depart::{Answer, Departure, departure};
use crate::kubernetes;
use crate::redirect::chain;

/// The agent's place in its cluster.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// Where the agent's DaemonSet is.
    pub namespace: String,
    pub node: String,
}

impl Cluster {
    /// What becomes of the node now that the agent ends.
    pub async fn departure(&self) -> Departure {
        let daemon_sets = Api::<DaemonSet>::namespaced(self.client.clone(), &self.namespace);
        let nodes = Api::<Node>::all(self.client.clone());
        let asked = Box::pin(async { tokio::join!(ask(&daemon_sets, DAEMON_SET), ask(&nodes, &self.node)) });
        match tokio::time::timeout(LONGEST, asked).await {
            Ok((daemon_set, node)) => departure(&daemon_set, &node),
            Err(_) => {
                let because = "the API server does not answer in time".to_owned();
                Departure::Stay { because }
            }
        }
    }
}

async fn ask<K>(api: &Api<K>, name: &str) -> Answer<K>
where
    K: Clone + Debug + DeserializeOwned,
{
    let mut tries = TRIES;
    loop {
        let error = match kubernetes::answer(api.get(name)).await {
            Ok(object) => return Answer::Is(Box::new(object)),
            Err(error) => error,
        };
        match error.code() {
            Some(404) => return Answer::NotFound,
            // Rights and account go with the chart, often before its pods.
            Some(401 | 403) => return Answer::Unauthorized,
            _ => tries -= 1,
        }
        if tries == 0 {
            return Answer::Unknown(chain(&error));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// As istio-cni's chart names it, and rights name it too.
const DAEMON_SET: &str = "istio-cni-node";
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// A part of the 30 s that an ending pod has.
const LONGEST: Duration = Duration::from_secs(6);
