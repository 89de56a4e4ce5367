//! `adit install`, `upgrade`, `uninstall` and `status` against a real API server with its real controllers: each plan, and each
//! refusal once. No node has a kubelet here: what pods do is written by the trial.

mod bench;

use bench::{Bench, Ran};
use serde_json::{Value, json};

pub(crate) fn a_second_installation_has_nothing_to_change() {
    let bench = Bench::start();
    let first = bench.install(&[]);
    assert_eq!(first.exit, 0, "{first:?}");
    assert!(first.stdout.contains("create     DaemonSet istio-system/ztunnel"), "{first:?}");
    let before = bench.versions();
    let second = bench.install(&["-o", "json"]);
    assert_eq!(second.exit, 0, "{second:?}");
    let plan = second.json();
    assert_eq!(plan["applied"], false);
    let steps = plan["steps"].as_array().expect("steps");
    assert!(steps.len() > 5 && steps.iter().all(|step| step["action"] == "keep"), "{plan:#}");
    assert_eq!(bench.versions(), before);
}

pub(crate) fn a_changed_value_is_a_plan_of_one_field_and_what_is_no_longer_wanted_goes() {
    let bench = Bench::start();
    assert_eq!(bench.install(&["--set", "ztunnel.resourceQuotas.enabled=true"]).exit, 0);
    assert!(bench.has("resourcequota"));
    let ran = bench.install(&["--set", "ztunnel.logLevel=debug"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.contains(".env[RUST_LOG].value: \"info\" → \"debug\""), "{ran:?}");
    assert!(ran.stdout.contains("remove     ResourceQuota"), "{ran:?}");
    assert!(!bench.has("resourcequota"));
}

pub(crate) fn fields_of_others_are_conflicts_that_name_both_until_they_are_forced() {
    let bench = Bench::start();
    assert_eq!(bench.install(&[]).exit, 0);
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "istio-proxy", "image": "x/theirs:1"}]}}}});
    bench.apply_as("operator", "DaemonSet", "ztunnel", image);
    let refused = bench.install(&[]);
    assert_eq!(refused.exit, 3, "{refused:?}");
    let field = ".spec.template.spec.containers[name=\"istio-proxy\"].image is owned by operator";
    assert!(refused.stderr.contains(field), "{refused:?}");
    assert!(refused.stderr.contains("--force-conflicts"), "{refused:?}");
    assert_eq!(bench.image("ztunnel"), "x/theirs:1");
    assert_eq!(bench.install(&["--force-conflicts"]).exit, 0);
    assert_ne!(bench.image("ztunnel"), "x/theirs:1");
}

pub(crate) fn missing_rights_are_named_all_at_once_and_nothing_is_changed() {
    let bench = Bench::start();
    bench.cluster.must(&["create", "namespace", "istio-system"]);
    let refused = bench.adit_as("nobody", &["install", "--yes", "--platform", "none"]);
    assert_eq!(refused.exit, 1, "{refused:?}");
    for right in ["\"daemonsets\"", "\"configmaps\"", "\"serviceaccounts\"", "\"clusterroles\""] {
        assert!(refused.stderr.contains(right), "{right}: {refused:?}");
    }
    assert!(!bench.has("daemonset"));
}

pub(crate) fn what_cannot_be_installed_is_refused_with_what_to_do() {
    let bench = Bench::start();
    bench.cluster.must(&["create", "namespace", "istio-system"]);
    let cases: [(&[&str], i32, &str); 9] = [
        (&["install", "--yes", "--kind", "dev"], 2, "no context \"kind-dev\""),
        (&["install", "--yes"], 1, "ConfigMap istio-system/istio-ca-root-cert, which istiod writes"),
        (&["install", "--without-istiod"], 3, "say --yes"),
        (
            &["install", "--yes", "--without-istiod", "--platform", "openshift"],
            1,
            "NetworkAttachmentDefinition",
        ),
        (
            &["install", "--yes", "--set", "ztunnel.resources.limits.cpu=many"],
            2,
            "DaemonSet istio-system/ztunnel",
        ),
        (&["install", "--yes", "-f", "/nowhere.yaml"], 2, "/nowhere.yaml"),
        (
            &[
                "install",
                "--yes",
                "--without-istiod",
                "--kind",
                "dev",
                "--context",
                "lab",
                "--images",
                "/nowhere",
            ],
            1,
            "/nowhere/adit-proxy.tar",
        ),
        (&["install", "--context", "other", "--yes"], 2, "--context: lab"),
        (&["upgrade", "--yes"], 1, "`adit install` installs"),
    ];
    for (args, exit, says) in cases {
        let ran = bench.adit(args);
        assert_eq!(ran.exit, exit, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(says), "{args:?}: {ran:?}");
    }
    assert!(!bench.has("daemonset"));
}

pub(crate) fn what_is_not_ready_in_time_is_told_with_its_reason() {
    let bench = Bench::start();
    bench.node("n1");
    let ran = bench.adit(&["install", "--yes", "--without-istiod", "--timeout", "5s"]);
    assert_eq!(ran.exit, 4, "{ran:?}");
    assert!(ran.stderr.contains("on n1"), "{ran:?}");
    assert_eq!(bench.adit(&["status"]).exit, 1);
    bench.run_pods();
    let status = bench.adit(&["status", "-o", "json"]);
    assert_eq!((status.exit, &status.json()["ready"]), (0, &json!(true)), "{status:?}");
}

pub(crate) fn what_helm_installed_is_taken_over_whole_and_put_back() {
    let bench = Bench::start();
    bench.cluster.must(&["create", "namespace", "istio-system"]);
    bench.theirs();
    let refused = bench.install(&[]);
    assert_eq!(refused.exit, 3, "{refused:?}");
    assert!(refused.stderr.contains("is of Helm release istio-ztunnel (ztunnel-1.29.1)"), "{refused:?}");
    assert_eq!(bench.image("ztunnel"), "istio/ztunnel:1.29.1");

    let taken = bench.install(&["--replace"]);
    assert_eq!(taken.exit, 0, "{taken:?}");
    let ours = bench.daemon_set("ztunnel");
    assert!(!ours.to_string().contains("ONLY_THEIRS"), "{ours:#}");
    assert_eq!(ours["metadata"]["annotations"]["meta.helm.sh/release-name"], Value::Null);
    assert_eq!(bench.install(&["-o", "json"]).json()["applied"], false);

    let back = bench.adit(&["uninstall", "--restore", "--yes"]);
    assert_eq!(back.exit, 0, "{back:?}");
    let theirs = bench.daemon_set("ztunnel");
    assert!(theirs.to_string().contains("ONLY_THEIRS"), "{theirs:#}");
    assert_eq!(theirs["metadata"]["annotations"]["meta.helm.sh/release-name"], "istio-ztunnel");
    assert_eq!(bench.image("ztunnel"), "istio/ztunnel:1.29.1");
    let left = bench.names("daemonset,configmap,secret,clusterrole");
    assert!(left.contains("ztunnel") && !left.contains("istio-cni") && !left.contains("adit"), "{left}");
}

pub(crate) fn uninstalling_waits_until_no_pod_is_captured_and_leaves_nothing() {
    let bench = Bench::start();
    let before = bench.names("daemonset,configmap,secret,serviceaccount,clusterrole,clusterrolebinding");
    bench.cluster.must(&["create", "namespace", "istio-system"]);
    bench.cluster.must(&[
        "label",
        "namespace",
        "istio-system",
        "pod-security.kubernetes.io/enforce=baseline",
    ]);
    assert_eq!(bench.install(&[]).exit, 0);
    let label =
        || bench.cluster.must(&["get", "namespace", "istio-system", "-o", "jsonpath={.metadata.labels}"]);
    assert!(label().contains("\"pod-security.kubernetes.io/enforce\":\"privileged\""), "{}", label());
    bench.captured("web", "n1");
    let uninstall =
        |args: &[&str]| bench.while_pods_run(|| bench.adit(&[&["uninstall", "--yes"], args].concat()));
    let waits = uninstall(&["--timeout", "10s"]);
    assert_eq!(waits.exit, 4, "{waits:?}");
    assert!(waits.stderr.contains("pod default/web on n1"), "{waits:?}");
    assert!(bench.names("daemonset").contains("ztunnel"), "the proxies serve it");

    bench.cluster.must(&["annotate", "pod", "web", "ambient.istio.io/redirection-"]);
    let done = uninstall(&[]);
    assert_eq!(done.exit, 0, "{done:?}");
    assert!(label().contains("\"pod-security.kubernetes.io/enforce\":\"baseline\""), "{}", label());
    bench.cluster.must(&["delete", "namespace", "istio-system"]);
    assert_eq!(
        bench.names("daemonset,configmap,secret,serviceaccount,clusterrole,clusterrolebinding"),
        before
    );
    let again = uninstall(&[]);
    assert_eq!(again.exit, 0, "{again:?}");
}

pub(crate) fn an_upgrade_goes_node_by_node_and_stops_at_the_one_that_fails() {
    let bench = Bench::start();
    for node in ["n1", "n2", "n3"] {
        bench.node(node);
    }
    let upgrade = |args: &[&str]| -> Ran {
        bench.while_pods_run(|| {
            bench.adit(&[&["upgrade", "--yes", "--soak", "1s", "--timeout", "30s"], args].concat())
        })
    };
    let installed = bench.while_pods_run(|| bench.adit(&["install", "--yes", "--without-istiod"]));
    assert_eq!(installed.exit, 0, "{installed:?}");
    let done = upgrade(&["--canary", "n2", "--set", "ztunnel.logLevel=debug,cni.logging.level=debug"]);
    assert_eq!(done.exit, 0, "{done:?}");
    assert!(done.stdout.contains("n2, n1, n3"), "{done:?}");
    assert!(done.stderr.contains("ztunnel-canary  is well on n2"), "{done:?}");
    assert!(!bench.names("daemonset").contains("canary"), "the canary is gone");

    let ours = bench.image("ztunnel");
    let stopped = upgrade(&["--set", "ztunnel.image=x/broken:1"]);
    assert_eq!(stopped.exit, 1, "{stopped:?}");
    assert!(
        stopped.stderr.contains("ztunnel-canary stopped at n1")
            && stopped.stderr.contains("ImagePullBackOff"),
        "{stopped:?}"
    );
    assert_eq!(bench.image("ztunnel"), ours);
    assert!(!bench.names("daemonset").contains("canary"), "the canary is gone");

    let stopped = upgrade(&["--set", "cni.image=x/broken:1,ztunnel.image=null"]);
    assert_eq!(stopped.exit, 1, "{stopped:?}");
    assert!(stopped.stderr.contains("istio-cni-node stopped at n1"), "{stopped:?}");
    let back = upgrade(&["--set", "cni.image=null"]);
    assert_eq!(back.exit, 0, "{back:?}");
    assert_eq!(bench.while_pods_run(|| bench.adit(&["status"])).exit, 0);
}
