//! How long a relay may stand still when only one side can still move it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::settings::RelayLimits;

/// What a relay waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Either side may move whenever it likes.
    #[default]
    Unbounded,
    /// One side has finished.
    HalfClosed,
    /// One side has reset; what it sent before is still being delivered.
    Flush,
}

/// Runs out when nothing has moved for a limit, or up to twice that: progress is looked at once a limit, not per byte.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Only half-closed relays pay for a timer.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: Waiting,
    moved: u64,
}

impl Patience {
    pub(super) fn poll_over(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Waiting,
        limits: &RelayLimits,
        moved: u64,
    ) -> Poll<()> {
        let Some(limit) = limit(waiting, limits) else { return Poll::Pending };
        if self.waiting != waiting {
            self.timer = None;
            self.waiting = waiting;
        }
        loop {
            let timer = self.timer.get_or_insert_with(|| {
                self.moved = moved;
                Box::pin(sleep(limit))
            });
            ready!(timer.as_mut().poll(cx));
            if self.moved == moved {
                return Poll::Ready(());
            }
            self.moved = moved;
            timer.as_mut().reset(Instant::now() + limit);
        }
    }
}

const fn limit(waiting: Waiting, limits: &RelayLimits) -> Option<Duration> {
    match waiting {
        Waiting::Unbounded => None,
        Waiting::HalfClosed => Some(limits.half_closed),
        Waiting::Flush => Some(limits.flush),
    }
}
