//! Which connection a new stream uses, and until when one without streams is kept.

use std::time::Duration;

use tokio::time::Instant;

/// Where a new stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// To the open connection at this place.
    Reuse(usize),
    /// To the connection that the attempt at this place will bring.
    Join(usize),
    /// To a connection that somebody must dial.
    Dial,
}

/// How many more streams a connection takes: within our own cap and what the peer allows.
pub(super) fn room(active: usize, cap: usize, peer: usize) -> usize {
    cap.min(peer).saturating_sub(active)
}

/// Decides from the room on each open connection and the openers that wait for each attempt.
///
/// The first with room wins, not the emptiest: what was dialed for a peak falls idle when the peak is over.
pub(super) fn choose(
    mut rooms: impl Iterator<Item = usize>,
    mut waiting: impl Iterator<Item = usize>,
    expected: usize,
) -> Choice {
    if let Some(at) = rooms.position(|room| room > 0) {
        Choice::Reuse(at)
    } else if let Some(at) = waiting.position(|openers| openers < expected) {
        Choice::Join(at)
    } else {
        Choice::Dial
    }
}

/// When to look again at a connection that was last used at `idle_since`; `None` when its time is over.
pub(super) fn look_again(
    active: usize,
    idle_since: Instant,
    keep: Duration,
    now: Instant,
) -> Option<Instant> {
    let end = if active > 0 { now + keep } else { idle_since + keep };
    (end > now).then_some(end)
}

#[cfg(test)]
mod tests;
