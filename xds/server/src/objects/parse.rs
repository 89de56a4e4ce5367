//! Multi-document Kubernetes YAML to objects, whole or refused with the file, the document and the field at fault.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Kind, Object};

/// What one file says.
#[derive(Debug, Default)]
pub struct Parsed {
    pub objects: Vec<Object>,
    /// `apiVersion/kind name` of documents that are not for a mesh.
    pub ignored: Vec<String>,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("{file}: document {document} is not valid YAML; nothing of this file is taken over")]
    Yaml {
        file: String,
        document: usize,
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    #[error("{file}: document {document} is not a Kubernetes object: it has no {missing}")]
    NotAnObject { file: String, document: usize, missing: &'static str },
    #[error("{file}: document {document}, {kind} {name:?}: field {field} cannot be read")]
    Field {
        file: String,
        document: usize,
        kind: String,
        name: String,
        field: String,
        #[source]
        source: serde_json::Error,
    },
}

/// Reads every document of one file; `file` only serves to name it in errors.
///
/// # Errors
///
/// The first document that is not valid YAML, not a Kubernetes object, or has a field of the wrong type or value.
pub fn parse(file: &str, text: &str) -> Result<Parsed, ObjectError> {
    let mut parsed = Parsed::default();
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        strict_booleans: true,
    };
    let mut bytes = text.as_bytes();
    for (index, document) in serde_saphyr::read_with_options::<_, Value>(&mut bytes, options).enumerate() {
        let at = At { file, document: index.saturating_add(1) };
        let mut value = document.map_err(|source| ObjectError::Yaml {
            file: file.to_owned(),
            document: at.document,
            source: Box::new(source),
        })?;
        drop_nulls(&mut value);
        at.read(value, &mut parsed)?;
    }
    Ok(parsed)
}

#[derive(Clone, Copy)]
struct At<'a> {
    file: &'a str,
    document: usize,
}

impl At<'_> {
    fn read(self, mut value: Value, parsed: &mut Parsed) -> Result<(), ObjectError> {
        let kind = self.text(&value, "/kind", "kind")?;
        let version = self.text(&value, "/apiVersion", "apiVersion")?;
        if version == "v1" && kind.ends_with("List") {
            let items = value.pointer_mut("/items").and_then(Value::as_array_mut).map(std::mem::take);
            return items.unwrap_or_default().into_iter().try_for_each(|item| self.read(item, parsed));
        }
        let name = self.text(&value, "/metadata/name", "metadata.name")?;
        let Some(kind) = known(&version, &kind) else {
            parsed.ignored.push(format!("{version}/{kind} {name}"));
            return Ok(());
        };
        let mut object = match kind {
            Kind::Namespace => Object::Namespace(self.typed(value, kind, &name)?),
            Kind::Node => Object::Node(self.typed(value, kind, &name)?),
            Kind::Pod => Object::Pod(Box::new(self.typed(value, kind, &name)?)),
            Kind::Service => Object::Service(self.typed(value, kind, &name)?),
            Kind::EndpointSlice => Object::EndpointSlice(self.typed(value, kind, &name)?),
            Kind::ServiceAccount => Object::ServiceAccount(self.typed(value, kind, &name)?),
            Kind::AuthorizationPolicy => Object::AuthorizationPolicy(self.typed(value, kind, &name)?),
            Kind::PeerAuthentication => Object::PeerAuthentication(self.typed(value, kind, &name)?),
            Kind::MeshResources => Object::MeshResources(self.typed(value, kind, &name)?),
        };
        object.default_namespace();
        parsed.objects.push(object);
        Ok(())
    }

    fn text(self, value: &Value, pointer: &str, missing: &'static str) -> Result<String, ObjectError> {
        let found = value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        found.map(str::to_owned).ok_or_else(|| ObjectError::NotAnObject {
            file: self.file.to_owned(),
            document: self.document,
            missing,
        })
    }

    fn typed<T: DeserializeOwned>(self, value: Value, kind: Kind, name: &str) -> Result<T, ObjectError> {
        serde_path_to_error::deserialize(value).map_err(|error| ObjectError::Field {
            file: self.file.to_owned(),
            document: self.document,
            kind: kind.to_string(),
            name: name.to_owned(),
            field: error.path().to_string(),
            source: error.into_inner(),
        })
    }
}

fn known(version: &str, kind: &str) -> Option<Kind> {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("", "Namespace") => Some(Kind::Namespace),
        ("", "Node") => Some(Kind::Node),
        ("", "Pod") => Some(Kind::Pod),
        ("", "Service") => Some(Kind::Service),
        ("", "ServiceAccount") => Some(Kind::ServiceAccount),
        ("discovery.k8s.io", "EndpointSlice") => Some(Kind::EndpointSlice),
        ("security.istio.io", "AuthorizationPolicy") => Some(Kind::AuthorizationPolicy),
        ("security.istio.io", "PeerAuthentication") => Some(Kind::PeerAuthentication),
        ("adit.dev", "MeshResources") => Some(Kind::MeshResources),
        _ => None,
    }
}

/// A null field is an absent one, as for the API server.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
