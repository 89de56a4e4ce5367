//! Pods that are refused what would leave them past the proxy, until they are proved.

use super::super::*;
use super::node::Node;
use crate::config::Unproved;
use crate::netns::NetnsId;

impl Node {
    pub(super) fn refuse(&mut self, netns: NetnsId, fails: bool) -> Result<(), String> {
        if fails {
            return Err(NOT_REFUSED.to_owned());
        }
        self.shut_in.insert(netns);
        Ok(())
    }

    /// Once the machine has had its turn, and as far as it was told.
    pub(super) fn lets_nobody_out_unproved(&self) {
        if self.unproved == Unproved::Allow || !self.machine.is_synced() {
            return;
        }
        for state in self.machine.dump(self.now) {
            let Some(life) = self.lives.get(&PodUid(state.uid.clone())) else { continue };
            let Some(sandbox) = life.sandbox.as_ref().filter(|sandbox| sandbox.started) else { continue };
            let id = format!("{}:{}", sandbox.id().dev, sandbox.id().inode);
            let known = state.netns.as_ref() == Some(&id) && state.step.is_none();
            let proved = state.rules == id
                && state.announced.as_ref() == Some(&id)
                && state.proved.as_ref() == Some(&id);
            let failed = state.last_failure.as_deref() == Some(NOT_REFUSED);
            if state.goal == "in" && known && !proved && !failed {
                assert!(self.shut_in.contains(&sandbox.id()), "{state:?} may go past the proxy");
            }
        }
    }
}

const NOT_REFUSED: &str = "it cannot be refused";
