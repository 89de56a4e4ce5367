//! What plugin, agent and proxy say to each other on one node.
