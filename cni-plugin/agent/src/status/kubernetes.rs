//! Statuses as annotations of the pods themselves, which is where istiod reads them.

use std::collections::BTreeSet;
use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;
use futures_util::future::{BoxFuture, ready};
use k8s_openapi::api::core::v1 as core;
use kube::api::{Api, PartialObjectMeta, Patch, PatchParams};
use kube::core::Request;
use kube::{Client, Resource as _};
use serde::de::IgnoredAny;
use serde_json::json;

use super::{StatusError, StatusSink};
use crate::kubernetes::{ApiError, answer};
use crate::model::{Pod, REDIRECTION_ANNOTATION, Redirection};

/// Patches pods by way of their `status` subresource, for which less privilege is needed than for the pods.
#[derive(Clone)]
pub struct Kubernetes(Client);

impl Kubernetes {
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self(client)
    }

    async fn write(&self, pod: &Pod, value: Option<Redirection>) -> Result<(), StatusError> {
        let failed = |source| StatusError::Api { pod: pod.full_name(), source };
        let error = match self.patch(pod, value).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let gone = match error.code() {
            Some(NOT_FOUND) => true,
            // With the wrong UID, the API server refuses the patch as one that changes what cannot be changed.
            Some(CONFLICT | INVALID) => !self.is_there(pod).await.map_err(failed)?,
            Some(_) | None => false,
        };
        match value {
            _ if !gone => Err(failed(error)),
            Some(_) => Err(StatusError::Gone { pod: pod.full_name() }),
            None => Ok(()),
        }
    }

    async fn patch(&self, pod: &Pod, value: Option<Redirection>) -> Result<(), ApiError> {
        let patch = json!({"metadata": {
            "uid": pod.metadata.uid,
            "annotations": {REDIRECTION_ANNOTATION: value.map(Redirection::value)},
        }});
        let url = core::Pod::url_path(&(), Some(&pod.metadata.namespace));
        let name = &pod.metadata.name;
        let request = Request::new(url)
            .patch_subresource("status", name, &PatchParams::default(), &Patch::Merge(patch))
            .map_err(|error| ApiError::Asked(kube::Error::BuildRequest(error)))?;
        // The answer is the whole pod, of which nothing is new.
        let _: IgnoredAny = answer(self.0.request(request)).await?;
        Ok(())
    }

    /// Whether this very pod still exists, rather than none or another of its name.
    async fn is_there(&self, pod: &Pod) -> Result<bool, ApiError> {
        let api = Api::<PartialObjectMeta<core::Pod>>::namespaced(self.0.clone(), &pod.metadata.namespace);
        let found = answer(api.get_opt(&pod.metadata.name)).await?;
        Ok(found.and_then(|found| found.metadata.uid).is_some_and(|uid| uid == pod.metadata.uid))
    }
}

impl StatusSink for Kubernetes {
    /// The pod's own annotation says it all.
    fn recorded(&self, _: Arc<Pod>) -> BoxFuture<'_, Result<Option<Redirection>, StatusError>> {
        Box::pin(ready(Ok(None)))
    }

    fn record(&self, pod: Arc<Pod>, value: Option<Redirection>) -> BoxFuture<'_, Result<(), StatusError>> {
        Box::pin(async move { self.write(&pod, value).await })
    }

    /// A pod takes its annotations along.
    fn prune(&self, _: BTreeSet<PodUid>) -> BoxFuture<'_, Result<(), StatusError>> {
        Box::pin(ready(Ok(())))
    }
}

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const INVALID: u16 = 422;
