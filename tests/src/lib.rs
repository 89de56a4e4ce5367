//! The lab, the sample application, the demo and the scenarios.
