//! The node agent: enrolls pods and serves them to the proxies.
