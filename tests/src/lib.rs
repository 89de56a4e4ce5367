//! The lab (nodes and pods as network namespaces), the sample application, the demo and the conformance table.

pub mod conformance;
pub mod demo;
pub mod lab;
pub mod sample_app;
