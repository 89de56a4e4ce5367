//! Packs an answer as its client accepts (RFC 9110 12.5.3).

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, HeaderMap};

use super::accepted;

/// What both a client and we know. Whoever takes `br` or `zstd` takes `gzip` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Deflate,
}

impl Packing {
    /// The one that the client likes best; `None` when it wants the answer as it is.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let weight = |names: &[&str]| {
            let mut asked = accepted(headers, &ACCEPT_ENCODING);
            asked
                .find(|(coding, _)| names.iter().any(|name| coding.eq_ignore_ascii_case(name)))
                .map(|(_, w)| w)
        };
        let any = weight(&["*"]).unwrap_or(0.0);
        let gzip = weight(&["gzip", "x-gzip"]).unwrap_or(any);
        let deflate = weight(&["deflate"]).unwrap_or(any);
        let (best, weight_of_best) =
            if gzip >= deflate { (Self::Gzip, gzip) } else { (Self::Deflate, deflate) };
        (weight_of_best > 0.0 && weight_of_best >= weight(&["identity"]).unwrap_or(0.0)).then_some(best)
    }

    /// The value of `content-encoding`.
    pub(crate) const fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }

    /// # Errors
    /// None that a buffer in memory can have.
    pub(crate) fn pack(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let packed = Vec::with_capacity(body.len() / 8);
        match self {
            Self::Gzip => {
                let mut out = GzEncoder::new(packed, Compression::fast());
                out.write_all(body)?;
                out.finish()
            }
            Self::Deflate => {
                let mut out = ZlibEncoder::new(packed, Compression::fast());
                out.write_all(body)?;
                out.finish()
            }
        }
    }
}

#[cfg(test)]
mod tests;
