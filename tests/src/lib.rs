//! The lab (nodes and pods as network namespaces), the sample application and the demo.

pub mod demo;
pub mod lab;
pub mod sample_app;
