//! Identities on the wire: certificate store, renewal schedule, verification.
//!
//! [`Store`] keeps one certificate per identity and renews it, [`Credentials`] is such a certificate ready for
//! handshakes, [`accept`] and [`connect`] do the two sides of one handshake. Where certificates come from is
//! somebody else's business, behind [`CertSource`].

mod client;
mod credentials;
mod dump;
mod error;
mod provider;
mod revoke;
mod schedule;
mod server;
mod store;
mod table;
#[cfg(test)]
mod testing;
mod trust;
mod verify;

pub use client::{ClientStream, Connected, connect};
pub use credentials::{Credentials, Material, MaterialError};
pub use dump::{Census, CertDump, CertInfo};
pub use error::{FetchError, IdentityError, IdentityMismatch, TlsError};
pub use provider::{TlsLimits, TlsPolicy, install_provider};
pub use revoke::{CrlError, CrlFile, RevocationCounts, Revocations, Standing, follow};
pub use server::{Accepted, ServerStream, accept};
pub use store::{CertSource, Limits, SourceError, Store};
pub use trust::{Direction, TlsContext};
