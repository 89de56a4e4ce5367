//! How a node talks to istiod: delta-xDS session, ADS stream, CA client.
