//! Which probes are to pass the proxies, of all pods that are captured or are to be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cni_plugin_wire::zds::PodUid;

use super::Enrollment;
use super::entry::Goal;

impl Enrollment {
    /// What the pods declare that may be captured now or soon. A pod on its way out keeps its probes until its rules are
    /// gone; one that is dead has none.
    #[must_use]
    pub fn probes(&self) -> BTreeMap<PodUid, BTreeSet<(IpAddr, u16)>> {
        let mut probes = BTreeMap::new();
        // What a record tells of a pod does not tell its probes; the node keeps those it had until the source is read.
        for (uid, entry) in self.pods.iter().filter(|(_, entry)| entry.restored.is_none()) {
            let captured = match self.goal(entry) {
                Goal::In => true,
                Goal::Out => !entry.withdrawn(),
                Goal::Dead | Goal::Unsure => false,
            };
            if captured {
                // The status of a pod whose start is held back names no address yet, and its first probe follows at once.
                probes.insert(uid.clone(), entry.pod.probes_at(&entry.ips()));
            }
        }
        probes
    }
}
