//! What the benchmarks share: worlds of any size, and the meter.

pub mod meter;
pub mod worlds;
