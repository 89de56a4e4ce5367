//! The tunnel: HTTP/2 CONNECT client, server, pool and relay.
