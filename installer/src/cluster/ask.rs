//! Requests to the API server, each with a deadline, and what its refusals mean.

use std::fmt;
use std::time::Duration;

use http::{Method, Request};
use serde_json::Value;

use super::{Cluster, Error};
use crate::object::{Id, collection, list, text};

/// What the server said to a server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// The object as it is now, or would be.
    Is(Box<Value>),
    /// Others own fields that the manifest would change.
    Conflicts(Vec<Conflict>),
}

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Conflict {
    /// The field's path, as the server writes it.
    pub field: String,
    /// The field manager that owns it.
    pub owner: String,
}

/// How to apply.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Take fields from their owners.
    pub force: bool,
    /// Only say what would come of it.
    pub dry_run: bool,
}

/// Which objects of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// Of one namespace.
    pub namespace: Option<&'a str>,
    /// By labels, as kubectl's `-l`.
    pub labels: &'a str,
    /// By fields, as kubectl's `--field-selector`.
    pub fields: &'a str,
}

impl Cluster {
    /// The object as it is, if it is there.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn get(&self, id: &Id) -> Result<Option<Value>, Error> {
        let asked = self.request(Method::GET, &id.path(), None, format_args!("read {id}")).await;
        absent_is_none(asked)
    }

    /// The objects of a kind.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn list(
        &self,
        api_version: &str,
        kind: &str,
        which: Selection<'_>,
    ) -> Result<Vec<Value>, Error> {
        let mut path = collection(api_version, kind, which.namespace);
        path.push_str("?limit=500");
        for (name, value) in [("labelSelector", which.labels), ("fieldSelector", which.fields)] {
            if !value.is_empty() {
                path.push_str(&format!("&{name}={}", escaped(value)));
            }
        }
        let mut items = Vec::new();
        let mut next = path.clone();
        loop {
            let page = self.request(Method::GET, &next, None, format_args!("list {kind} objects")).await?;
            items.extend(list(&page, "/items").iter().cloned());
            let more = text(&page, "/metadata/continue");
            if more.is_empty() {
                return Ok(items);
            }
            next = format!("{path}&continue={}", escaped(more));
        }
    }

    /// Server-side apply as `adit`. Fields that the server does not know are errors.
    ///
    /// # Errors
    /// The server refuses, but for conflicts, or does not answer.
    pub async fn apply(&self, id: &Id, object: &Value, how: How) -> Result<Applied, Error> {
        let mut path = format!("{}?fieldManager={MANAGER}&fieldValidation=Strict", id.path());
        path.push_str(&format!("&force={}", how.force));
        if how.dry_run {
            path.push_str("&dryRun=All");
        }
        let body = Body { kind: "application/apply-patch+yaml", value: object };
        match self.request(Method::PATCH, &path, Some(body), format_args!("apply {id}")).await {
            Ok(object) => Ok(Applied::Is(Box::new(object))),
            Err(Error::Refused { status, .. }) if status.code == 409 && !conflicts(&status).is_empty() => {
                Ok(Applied::Conflicts(conflicts(&status)))
            }
            Err(other) => Err(other),
        }
    }

    /// A merge patch as the given field manager.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn merge(&self, id: &Id, patch: &Value, manager: &str) -> Result<Value, Error> {
        let path = format!("{}?fieldManager={}", id.path(), escaped(manager));
        let body = Body { kind: "application/merge-patch+json", value: patch };
        self.request(Method::PATCH, &path, Some(body), format_args!("change {id}")).await
    }

    /// Writes the whole object, new or in place of the one that is there, as the given field manager.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn put(&self, id: &Id, object: &Value, manager: &str) -> Result<Value, Error> {
        let query = format!("fieldManager={}", escaped(manager));
        match self.get(id).await? {
            None => {
                let path = collection(&id.api_version, &id.kind, id.namespace.as_deref());
                let body = Body { kind: JSON, value: object };
                self.request(
                    Method::POST,
                    &format!("{path}?{query}"),
                    Some(body),
                    format_args!("create {id}"),
                )
                .await
            }
            Some(live) => {
                let mut object = object.clone();
                if let (Some(metadata), Some(version)) = (
                    object.get_mut("metadata").and_then(Value::as_object_mut),
                    live.pointer("/metadata/resourceVersion"),
                ) {
                    metadata.insert("resourceVersion".to_owned(), version.clone());
                }
                let body = Body { kind: JSON, value: &object };
                self.request(
                    Method::PUT,
                    &format!("{}?{query}", id.path()),
                    Some(body),
                    format_args!("replace {id}"),
                )
                .await
            }
        }
    }

    /// Deletes the object and, in the background, what it owns. Whether it was there.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn delete(&self, id: &Id) -> Result<bool, Error> {
        let path = format!("{}?propagationPolicy=Background", id.path());
        let asked = self.request(Method::DELETE, &path, None, format_args!("delete {id}")).await;
        Ok(absent_is_none(asked)?.is_some())
    }

    /// The server's version, as `v1.33.1`.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn server_version(&self) -> Result<String, Error> {
        let version =
            self.request(Method::GET, "/version", None, format_args!("ask for the server's version")).await?;
        Ok(text(&version, "/gitVersion").to_owned())
    }

    /// The API groups that it has.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn groups(&self) -> Result<Value, Error> {
        self.request(Method::GET, "/apis", None, format_args!("list API groups")).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Body<'_>>,
        attempt: fmt::Arguments<'_>,
    ) -> Result<Value, Error> {
        let mut request = Request::builder().method(method).uri(path);
        let bytes = match body {
            Some(body) => {
                request = request.header(http::header::CONTENT_TYPE, body.kind);
                body.value.to_string().into_bytes()
            }
            None => Vec::new(),
        };
        let request = request
            .body(bytes)
            .map_err(|source| Error::BadRequest { attempt: attempt.to_string(), source })?;
        tracing::debug!("{attempt}");
        match tokio::time::timeout(ANSWER, self.client.request::<Value>(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.refusal(attempt, error)),
            Err(_) => Err(Error::Late { attempt: attempt.to_string(), seconds: ANSWER.as_secs() }),
        }
    }

    fn refusal(&self, attempt: fmt::Arguments<'_>, error: kube::Error) -> Error {
        let attempt = attempt.to_string();
        if let kube::Error::Api(status) = error {
            return Error::Refused { attempt, status };
        }
        Error::Unreachable { attempt, server: self.server.clone(), source: Box::new(error) }
    }
}

/// What is sent, and as what.
struct Body<'a> {
    kind: &'static str,
    value: &'a Value,
}

fn absent_is_none(asked: Result<Value, Error>) -> Result<Option<Value>, Error> {
    match asked {
        Ok(object) => Ok(Some(object)),
        Err(Error::Refused { status, .. }) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The fields of a refusal that others own.
fn conflicts(status: &kube::core::Status) -> Vec<Conflict> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes = causes.filter(|cause| cause.reason == "FieldManagerConflict");
    causes.map(|cause| Conflict { field: cause.field.clone(), owner: owner(&cause.message) }).collect()
}

/// Of `conflict with "kubectl" using apps/v1`, the manager.
fn owner(message: &str) -> String {
    message.split('"').nth(1).unwrap_or(message).to_owned()
}

/// For a query, as RFC 3986 has it.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Who we are to the server.
pub const MANAGER: &str = "adit";
const JSON: &str = "application/json";
/// For one request and its answer; admission webhooks take their part of it.
const ANSWER: Duration = Duration::from_secs(40);
