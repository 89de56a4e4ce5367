//! Certificate revocation lists (RFC 5280, section 5) as they stand in a file, by issuer.

use std::collections::HashMap;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use thiserror::Error;
use webpki::{CertRevocationList, EndEntityCert, OwnedCertRevocationList};

use crate::trust::Presented;

/// The lists of one file, parsed once.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    by_issuer: HashMap<Vec<u8>, Vec<CertRevocationList<'static>>>,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CrlError {
    /// The PEM text is broken.
    #[error("the PEM text is broken: {why}")]
    Pem {
        /// What the parser says.
        why: String,
    },
    /// One of the lists is not a revocation list that we understand.
    #[error("revocation list {position} of the file cannot be read")]
    List {
        /// Counted from 1.
        position: usize,
        /// What the parser says.
        #[source]
        source: webpki::Error,
    },
}

impl Lists {
    /// Reads a whole file: nothing, one DER list, or any number of PEM lists among other PEM blocks. One list that cannot
    /// be read spoils the file: half of what an operator revoked is not what was meant.
    ///
    /// # Errors
    /// The file is none of these.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, CrlError> {
        let ders = if file.trim_ascii().is_empty() {
            Vec::new()
        } else if is_pem(file) {
            CertificateRevocationListDer::pem_slice_iter(file)
                .map(|block| block.map(|der| der.to_vec()))
                .collect::<Result<Vec<_>, pem::Error>>()
                .map_err(|error| CrlError::Pem { why: error.to_string() })?
        } else {
            vec![file.to_vec()]
        };
        let mut lists = Self::default();
        for (der, position) in ders.iter().zip(1..) {
            let list = OwnedCertRevocationList::from_der(der)
                .map_err(|source| CrlError::List { position, source })?;
            let list = CertRevocationList::from(list);
            lists.by_issuer.entry(list.issuer().to_vec()).or_default().push(list);
        }
        Ok(lists)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_issuer.values().map(Vec::len).sum()
    }

    /// The lists that hold the serial number of a certificate of the chain under its issuer's name. Whether they are that
    /// issuer's, and the certificate has a part in the chain, is for the verifier to say: this is the quick first look.
    pub(crate) fn naming(&self, chain: Presented<'_>) -> Vec<&CertRevocationList<'static>> {
        let mut found: Vec<&CertRevocationList<'static>> = Vec::new();
        for der in [chain.leaf].into_iter().chain(chain.intermediates) {
            for list in self.naming_one(der) {
                if !found.iter().any(|known| std::ptr::eq(*known, list)) {
                    found.push(list);
                }
            }
        }
        found
    }

    fn naming_one<'a>(
        &'a self,
        der: &CertificateDer<'_>,
    ) -> impl Iterator<Item = &'a CertRevocationList<'static>> {
        // What cannot be parsed has no part in a chain.
        let certificate = EndEntityCert::try_from(der).ok();
        let serial = certificate.as_ref().map(|c| c.serial().to_vec()).unwrap_or_default();
        let lists = certificate.and_then(|c| self.by_issuer.get(c.issuer()));
        lists
            .into_iter()
            .flatten()
            .filter(move |list| list.find_serial(&serial).is_ok_and(|found| found.is_some()))
    }
}

/// DER of a list begins with a SEQUENCE tag, which is no PEM and hardly a text.
fn is_pem(file: &[u8]) -> bool {
    let head = b"-----BEGIN ";
    file.first() != Some(&0x30) && file.windows(head.len()).any(|window| window == head)
}

#[cfg(test)]
mod tests;
