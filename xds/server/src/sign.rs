//! The certificate service: who may have which certificate. [`crate::ca`] makes it.

use std::sync::Arc;

use prost_types::{Struct, value::Kind};
use tonic::{Request, Response, Status};
use xds_proto::istio::v1::auth::istio_certificate_service_server::IstioCertificateService;
use xds_proto::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};

use crate::ca::{CaError, SpiffeId};
use crate::control::Inner;

pub(crate) struct Sign {
    pub(crate) inner: Arc<Inner>,
}

#[tonic::async_trait]
impl IstioCertificateService for Sign {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if !self.inner.admits(header) {
            return Err(Status::unauthenticated("request authenticate failure"));
        }
        let caller = self.inner.caller(header).map(str::to_owned);
        let request = request.into_inner();
        let Some(wanted) = impersonated(request.metadata.as_ref()).or(caller.as_deref()) else {
            tracing::warn!(
                "refused to sign: the request names no ImpersonatedIdentity, and its token is no workload's"
            );
            return Err(Status::unauthenticated("request authenticate failure"));
        };
        if let Err(why) = self.entitled(wanted, caller.as_deref()) {
            // The caller learns no more than from istiod; the log does.
            tracing::warn!(identity = wanted, why, "refused to sign");
            return Err(Status::unauthenticated("request impersonation authentication failure"));
        }
        match self.inner.ca.sign(&request.csr, wanted, request.validity_duration) {
            Ok(cert_chain) => {
                tracing::info!(identity = wanted, "signed");
                self.inner.journal.signed(wanted);
                Ok(Response::new(IstioCertificateResponse { cert_chain }))
            }
            Err(error) => {
                tracing::warn!(identity = wanted, %error, "refused to sign");
                Err(status(&error))
            }
        }
    }
}

impl Sign {
    fn entitled(&self, wanted: &str, caller: Option<&str>) -> Result<(), &'static str> {
        if let Some(caller) = caller {
            return (caller == wanted).then_some(()).ok_or("the token is another workload's");
        }
        let id =
            SpiffeId::parse(wanted).ok_or("not of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT")?;
        let known = self.inner.access.any_identity
            || self.inner.inspect(|objects| objects.runs_as(id.namespace, id.service_account));
        known.then_some(()).ok_or("no pod runs under this service account")
    }
}

fn impersonated(metadata: Option<&Struct>) -> Option<&str> {
    match metadata?.fields.get("ImpersonatedIdentity")?.kind.as_ref()? {
        Kind::StringValue(identity) if !identity.is_empty() => Some(identity),
        Kind::StringValue(_)
        | Kind::NullValue(_)
        | Kind::NumberValue(_)
        | Kind::BoolValue(_)
        | Kind::StructValue(_)
        | Kind::ListValue(_) => None,
    }
}

fn status(error: &CaError) -> Status {
    let message = format!("CSR signing error ({error})");
    match error {
        CaError::Csr(_)
        | CaError::CsrSignature(_)
        | CaError::CsrKey(_)
        | CaError::Ttl { .. }
        | CaError::Identity(_) => Status::invalid_argument(message),
        CaError::Root(_)
        | CaError::RootKey(_)
        | CaError::Name { .. }
        | CaError::Issue(_)
        | CaError::Tls(_) => Status::internal(message),
    }
}
