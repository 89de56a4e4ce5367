//! Container images without a registry or a daemon: programs of ours and packages of the machine's release become archives
//! that `kind load image-archive`, `ctr images import` and `docker load` take.
//!
//! [`catalog`] says what is in each image. [`apt`] and [`deb`] fetch and open packages; the rest only computes.

pub mod apt;
pub mod archive;
pub mod assemble;
pub mod catalog;
pub mod deb;
pub mod elf;
pub mod platform;
pub mod reference;
pub mod tree;
