//! One program in a pod, and what it prints.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Error;
use crate::cluster::Cluster;

/// Where to run it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) namespace: &'a str,
    pub(super) pod: &'a str,
    pub(super) container: &'a str,
}

/// What it prints to standard output.
pub(super) async fn run(cluster: &Cluster, place: Place<'_>, command: &[&str]) -> Result<String, Error> {
    let whom = format!("{}.{}", place.pod, place.namespace);
    let late = |_| Error::Answer {
        whom: whom.clone(),
        path: command.join(" "),
        why: format!("no answer within {} seconds", LONGEST.as_secs()),
    };
    timeout(LONGEST, exchange(cluster, place, command, &whom)).await.map_err(late)?
}

async fn exchange(
    cluster: &Cluster,
    place: Place<'_>,
    command: &[&str],
    whom: &str,
) -> Result<String, Error> {
    let refused = |why: String| Error::Answer { whom: whom.to_owned(), path: command.join(" "), why };
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), place.namespace);
    let how = AttachParams::default().container(place.container).stdout(true).stderr(true);
    let mut process = pods
        .exec(place.pod, command.iter().copied(), &how)
        .await
        .map_err(|source| Error::Connect { whom: whom.to_owned(), source: source.into() })?;
    let status = process.take_status();
    let (mut out, mut err) = (String::new(), String::new());
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let reading = async {
        if let Some(mut stdout) = stdout {
            stdout.read_to_string(&mut out).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let complaining = async {
        if let Some(mut stderr) = stderr {
            stderr.read_to_string(&mut err).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let (read, complained) = tokio::join!(reading, complaining);
    read.and(complained).map_err(|error| refused(error.to_string()))?;
    let ended = match status {
        Some(status) => status.await,
        None => None,
    };
    match ended.and_then(|status| status.status) {
        Some(status) if status != "Success" => Err(refused(err.trim().to_owned())),
        Some(_) | None => Ok(out),
    }
}

const LONGEST: Duration = Duration::from_secs(30);
