//! The lab (nodes and pods as network namespaces), the sample application, the demo, the conformance table, and every parser as
//! a fuzz target.

pub mod conformance;
pub mod demo;
pub mod fuzz;
pub mod lab;
pub mod sample_app;
