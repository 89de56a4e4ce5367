//! The node process: sockets, ZDS, listeners, telemetry, admin.
