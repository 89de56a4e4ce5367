//! Pod traffic to the proxy: plan, render, drift, apply.
