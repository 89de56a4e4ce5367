//! Decides: where a captured connection goes, whether a tunnel stream may enter, and why a connection ended.
//!
//! Nothing here performs I/O, reads a clock, draws a random number, takes a lock or writes a log: time is a [`Moment`],
//! randomness a [`Pick`], and a decision that lacks something answers [`decide::Step::Need`].

use std::{fmt, ops::Add, sync::Arc, time::Duration};

pub mod decide;
pub mod decode;
pub mod dns;
pub mod model;
pub mod reason;
pub mod wire;
pub mod world;

pub use reason::Reason;

/// Text that many values share: names, namespaces, networks.
pub type Str = Arc<str>;

/// Time since the process started. An input: this crate reads no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, rest: Duration) -> Self {
        Self(self.0.saturating_add(rest))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}

/// 64 random bits for one decision. The same bits and the same world give the same decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pick(pub u64);

impl Pick {
    /// An independent number for the `n`-th choice inside one decision.
    pub(crate) const fn nth(self, n: u64) -> u64 {
        // SplitMix64: its outputs for consecutive counters are independent enough to weigh endpoints.
        let mut bits = self.0.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Randomness of its own for one part of a decision.
    pub(crate) const fn fork(self, part: u64) -> Self {
        Self(self.nth(u64::MAX - part))
    }

    /// The `n`-th choice of a number below `bound`; 0 when `bound` is 0.
    pub(crate) const fn below(self, n: u64, bound: u64) -> u64 {
        let wide = (self.nth(n) as u128) * (bound as u128);
        // The high word of a product of two 64-bit numbers fits 64 bits and is below `bound`.
        (wide >> 64) as u64
    }
}

#[cfg(test)]
mod fixtures;
