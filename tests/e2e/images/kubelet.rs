//! What a kubelet makes of a DaemonSet's pod template for its runtime: the image, the environment, the mounts, the rights.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::lab::cluster::documents;

use crate::runtime::cri::container::{
    Capabilities, ContainerConfig, ContainerMetadata, ImageSpec, Int64, KeyValue, LinuxContainer, Mount,
    Namespaces, SecurityContext,
};

/// A rendered chart: its DaemonSet, and the ConfigMaps that this names.
pub(crate) struct Chart {
    pub(crate) yaml: String,
    objects: Vec<Value>,
}

/// A pod of a DaemonSet on one node.
pub(crate) struct Placed<'a> {
    /// By its fields' paths.
    pub(crate) fields: BTreeMap<&'a str, String>,
    /// What every container is told of the API server.
    pub(crate) server: std::net::SocketAddr,
    /// What is on the node instead of at a path of the machine's.
    pub(crate) on_node: BTreeMap<&'a str, PathBuf>,
    /// Volumes that are no directories of the node: files by their names.
    pub(crate) volumes: BTreeMap<&'a str, Vec<(&'a str, String)>>,
    /// What only kubelets mount, by its path in the container.
    pub(crate) kubelet: Vec<(&'a str, PathBuf)>,
    /// Where volumes are kept.
    pub(crate) home: PathBuf,
}

impl Chart {
    /// Reads what Helm rendered.
    #[track_caller]
    pub(crate) fn read(path: &Path) -> Self {
        let yaml = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let objects = documents(&yaml);
        Self { yaml, objects }
    }

    /// The pod's specification.
    #[track_caller]
    pub(crate) fn pod(&self) -> &Value {
        &self.object("DaemonSet", None)["spec"]["template"]["spec"]
    }

    /// Its one container as a kubelet asks a runtime for it.
    #[track_caller]
    pub(crate) fn container(&self, placed: &Placed<'_>) -> ContainerConfig {
        let pod = self.pod();
        let [container] = pod["containers"].as_array().expect("containers").as_slice() else {
            panic!("one container is wanted of {pod}")
        };
        let name = text(&container["name"]);
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.clone() }),
            image: Some(ImageSpec { image: text(&container["image"]) }),
            command: texts(&container["command"]),
            args: texts(&container["args"]),
            envs: self.environment(container, placed),
            mounts: mounts(pod, container, placed),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainer { security_context: Some(security(&container["securityContext"])) }),
        }
    }

    fn environment(&self, container: &Value, placed: &Placed<'_>) -> Vec<KeyValue> {
        let mut env = vec![
            ("KUBERNETES_SERVICE_HOST".to_owned(), placed.server.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT".to_owned(), placed.server.port().to_string()),
        ];
        for from in items(&container["envFrom"]) {
            let map = self.object("ConfigMap", from["configMapRef"]["name"].as_str());
            let data = map["data"].as_object().expect("data");
            env.extend(data.iter().map(|(key, value)| (key.clone(), text(value))));
        }
        for variable in items(&container["env"]) {
            let from = &variable["valueFrom"];
            let value = if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
                placed.fields.get(path).unwrap_or_else(|| panic!("no field {path}")).clone()
            } else if let Some(resource) = from["resourceFieldRef"]["resource"].as_str() {
                resources(resource)
            } else {
                text(&variable["value"])
            };
            env.push((text(&variable["name"]), value));
        }
        env.into_iter().map(|(key, value)| KeyValue { key, value }).collect()
    }

    #[track_caller]
    fn object(&self, kind: &str, name: Option<&str>) -> &Value {
        let is_it = |o: &&Value| o["kind"] == kind && name.is_none_or(|name| o["metadata"]["name"] == name);
        self.objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name:?} in the chart"))
    }
}

/// What a container without limits is told: as much as a small node has.
fn resources(resource: &str) -> String {
    match resource {
        "limits.cpu" | "requests.cpu" => "2",
        "limits.memory" => "2147483648",
        other => panic!("the resource {other}"),
    }
    .to_owned()
}

fn mounts(pod: &Value, container: &Value, placed: &Placed<'_>) -> Vec<Mount> {
    let volume = |name: &Value| {
        let found = items(&pod["volumes"]).find(|volume| volume["name"] == *name);
        placed.volume(found.unwrap_or_else(|| panic!("no volume {name}")))
    };
    let own = items(&container["volumeMounts"]).map(|mount| Mount {
        container_path: text(&mount["mountPath"]),
        host_path: volume(&mount["name"]).display().to_string(),
        readonly: mount["readOnly"].as_bool().unwrap_or_default(),
        propagation: match mount["mountPropagation"].as_str() {
            None | Some("None") => 0,
            Some("HostToContainer") => 1,
            Some(other) => panic!("the propagation {other}"),
        },
    });
    let kubelet = placed.kubelet.iter().map(|(path, from)| Mount {
        container_path: (*path).to_owned(),
        host_path: from.display().to_string(),
        readonly: true,
        propagation: 0,
    });
    own.chain(kubelet).collect()
}

impl Placed<'_> {
    /// The directory of a volume, made and filled.
    fn volume(&self, volume: &Value) -> PathBuf {
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            return self.on_node.get(path).cloned().unwrap_or_else(|| PathBuf::from(path));
        }
        let name = volume["name"].as_str().expect("a name");
        let folder = self.home.join(name);
        fs::create_dir_all(&folder).expect("a folder for a volume");
        let is_empty = volume.get("emptyDir").is_some();
        let files = self.volumes.get(name).map(Vec::as_slice).unwrap_or_default();
        assert!(is_empty || !files.is_empty(), "nothing is given for the volume {name}");
        for (file, content) in files {
            fs::write(folder.join(file), content).expect("a file of a volume");
        }
        folder
    }
}

/// With the paths that kubelets mask and protect by default.
fn security(context: &Value) -> SecurityContext {
    let number = |field: &str| context[field].as_i64().map(|value| Int64 { value });
    let owned = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
    SecurityContext {
        capabilities: Some(Capabilities {
            add: texts(&context["capabilities"]["add"]),
            drop: texts(&context["capabilities"]["drop"]),
        }),
        privileged: context["privileged"].as_bool().unwrap_or_default(),
        namespaces: Some(Namespaces { pid: OF_THE_CONTAINER }),
        run_as_user: number("runAsUser"),
        run_as_group: number("runAsGroup"),
        readonly_rootfs: context["readOnlyRootFilesystem"].as_bool().unwrap_or_default(),
        no_new_privs: context["allowPrivilegeEscalation"] == false,
        masked_paths: owned(&MASKED),
        readonly_paths: owned(&READ_ONLY),
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn texts(list: &Value) -> Vec<String> {
    items(list).map(text).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

const OF_THE_CONTAINER: i32 = 1;
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
