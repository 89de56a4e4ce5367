//! Identities on the wire: certificate store, renewal schedule, verification.
