use serde_json::json;

use super::*;

fn release() -> Release {
    Release {
        name: "mesh".to_owned(),
        namespace: "istio-system".to_owned(),
        is_upgrade: false,
        revision: 1,
        kube_version: "v1.33.0".parse().unwrap(),
        api_versions: Vec::new(),
    }
}

/// What the one template of a chart prints with the values, over the defaults.
fn printed(template: &str, defaults: &str, given: Value) -> Result<Rendered, RenderError> {
    let files = [
        ("Chart.yaml", "{apiVersion: v2, name: one, version: 1.2.3, appVersion: '4'}"),
        ("values.yaml", defaults),
        ("templates/NOTES.txt", template),
    ];
    package(Package::load("one", &files)?, &release(), &given)
}

#[track_caller]
fn check(template: &str, defaults: &str, given: Value, want: &str) {
    match printed(template, defaults, given) {
        Ok(rendered) => assert_eq!(rendered.notes, want, "{template}"),
        Err(error) => panic!("{template}: {error}"),
    }
}

#[track_caller]
fn refuses(template: &str, want: &str) {
    match printed(template, "{}", json!({})) {
        Ok(rendered) => panic!("{template}: {rendered:?}"),
        Err(error) => assert_eq!(error.to_string(), want, "{template}"),
    }
}

#[test]
fn every_chart_renders_with_its_defaults() {
    for chart in Chart::ALL {
        let rendered =
            render(chart, &release(), &json!({})).unwrap_or_else(|error| panic!("{}: {error}", chart.name()));
        assert!(!rendered.objects.is_empty(), "{}", chart.name());
        for object in &rendered.objects {
            assert!(object.pointer("/metadata/name").is_some(), "{object}");
        }
    }
}

#[test]
fn no_chart_of_ours_has_hooks_but_tests() {
    for chart in Chart::ALL {
        for (path, template) in Package::of(chart).unwrap().templates {
            for line in template
                .lines()
                .filter(|line| line.contains("helm.sh/hook\"") || line.contains("helm.sh/hook:"))
            {
                assert!(line.contains("test"), "{}/{path}: {line}", chart.name());
            }
        }
    }
}

#[test]
fn objects_come_in_the_order_in_which_helm_installs_them() {
    let kinds = |chart| -> Vec<String> {
        let rendered = render(chart, &release(), &json!({})).unwrap();
        rendered.objects.iter().map(|o| o["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(Chart::Ztunnel), ["ServiceAccount", "DaemonSet"]);
    let both = kinds(Chart::Adit);
    assert_eq!(both.first().map(String::as_str), Some("ServiceAccount"));
    assert_eq!(both.last().map(String::as_str), Some("DaemonSet"));
}

#[test]
fn what_is_given_goes_over_defaults_and_null_takes_them_away() {
    let print = "{{ toYaml .Values }}";
    check(print, "{a: 1, b: {c: 2, d: 3}}", json!({"b": {"c": 5}}), "a: 1\nb:\n  c: 5\n  d: 3");
    check(print, "{a: 1, b: {c: 2, d: 3}}", json!({"a": null, "b": {"c": null}}), "b:\n  d: 3");
    check(print, "{a: null, b: [1, 2]}", json!({"b": [3]}), "b:\n- 3");
}

#[test]
fn a_map_that_set_changes_is_changed_for_everybody() {
    check(
        r#"{{ $d := dict "a" 1 }}{{ $_ := set $d "b" 2 }}{{ $d.b }} {{ $e := $d }}{{ $_ := set $e "c" 3 }}{{ $d.c }}"#,
        "{}",
        json!({}),
        "2 3",
    );
}

#[test]
fn a_block_sees_outer_variables_and_keeps_its_own() {
    check(
        "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $y := 3 }}{{ $y }}{{ end }}{{ $x }}",
        "{}",
        json!({}),
        "32",
    );
    check("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "{}", json!({}), "1");
    check("{{ range $i, $v := list \"a\" \"b\" }}{{ $i }}{{ $v }}{{ end }}", "{}", json!({}), "0a1b");
    check(
        "{{ range list 1 2 3 }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ . }}{{ else }}none{{ end }}",
        "{}",
        json!({}),
        "13",
    );
    check("{{ range .Values.no }}x{{ else }}none{{ end }}", "{}", json!({}), "none");
    check(
        "{{ with .Values.a }}{{ .b }}{{ else with .Values.c }}{{ . }}{{ end }}",
        "{}",
        json!({"c": "d"}),
        "d",
    );
}

#[test]
fn numbers_print_as_helm_prints_them() {
    // YAML reaches Helm as JSON, where a number is a float; what --set gives is whole.
    let values = values::parse("{big: 1000000, half: 0.5}").unwrap();
    check("{{ .Values.big }} {{ .Values.half }} {{ .Values.big | int }}", "{}", values, "1e+06 0.5 1000000");
    check("{{ .Values.big }}", "{}", json!({"big": 1_000_000}), "1000000");
    check("{{ printf \"%s-%d %q %v\" \"a\" 5 \"b\" (list 1 \"x\") }}", "{}", json!({}), "a-5 \"b\" [1 x]");
}

#[test]
fn merging_fills_what_is_empty_and_overwriting_replaces() {
    let template = r#"{{ $a := dict "x" false "y" 1 "m" (dict "p" 1) }}{{ $b := dict "x" true "y" 2 "m" (dict "p" 2 "q" 3) }}"#;
    check(
        &format!("{template}{{{{ merge $a $b | toJson }}}}"),
        "{}",
        json!({}),
        r#"{"m":{"p":1,"q":3},"x":true,"y":1}"#,
    );
    check(
        &format!("{template}{{{{ mustMergeOverwrite $b $a | toJson }}}}"),
        "{}",
        json!({}),
        r#"{"m":{"p":1,"q":3},"x":false,"y":1}"#,
    );
}

#[test]
fn text_is_quoted_indented_and_cut_as_helm_does_it() {
    check("a:{{ \"x\\ny\" | nindent 2 }}", "{}", json!({}), "a:\n  x\n  y");
    check("{{ quote \"a\\\"b\" nil 5 }} {{ squote \"c\" }}", "{}", json!({}), "\"a\\\"b\" \"5\" 'c'");
    check(
        "{{ trunc 3 \"abcdef\" }} {{ trunc -2 \"abcdef\" }} {{ trimSuffix \"-\" \"a-\" }}",
        "{}",
        json!({}),
        "abc ef a",
    );
    check(
        "{{ .Values.none | default \"d\" }} {{ ternary 1 2 true }} {{ join \",\" (list 1 \"b\") }}",
        "{}",
        json!({}),
        "d 1 1,b",
    );
    check("{{ \"abc\" | sha256sum | trunc 8 }} {{ \"abc\" | b64enc }}", "{}", json!({}), "ba7816bf YWJj");
}

#[test]
fn tpl_sees_the_charts_templates_and_its_own() {
    check(
        r#"{{ define "n" }}[{{ . }}]{{ end }}{{ tpl "{{ define \"m\" }}m{{ end }}{{ include \"n\" .Release.Name }}{{ include \"m\" . }}" . }}"#,
        "{}",
        json!({}),
        "[mesh]m",
    );
}

#[test]
fn objects_of_helm_have_fields_and_methods() {
    check(
        "{{ .Chart.Name }} {{ .Chart.AppVersion }} {{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.KubeVersion }} {{ .Template.Name }}",
        "{}",
        json!({}),
        "one 4 33 v1.33.0 one/templates/NOTES.txt",
    );
    check(
        "{{ .Files.Get \"no\" | quote }} {{ .Capabilities.APIVersions.Has \"apps/v1\" }} {{ .Release.IsInstall }}",
        "{}",
        json!({}),
        "\"\" false true",
    );
}

#[test]
fn a_failure_names_the_file_the_line_and_the_way_there() {
    refuses(
        "a\n{{ define \"x\" }}{{ fail \"no good\" }}{{ end }}\n{{ include \"x\" . }}",
        "the chart refuses these values: one/templates/NOTES.txt:2: no good\n  in x at one/templates/NOTES.txt:3",
    );
    refuses("\n{{ .Values.a.b }}", "one/templates/NOTES.txt:2: nil pointer evaluating interface {}.b");
    refuses("{{ nope 1 }}", "one/templates/NOTES.txt:1: nope: no such function");
    refuses(
        "{{ if eq 1 \"a\" }}{{ end }}",
        "one/templates/NOTES.txt:1: eq: incompatible types for comparison: int and string",
    );
    refuses("{{ include \"no\" . }}", "one/templates/NOTES.txt:1: no template \"no\" is defined");
    refuses(
        "{{ required \"name it\" .Values.name }}",
        "the chart refuses these values: one/templates/NOTES.txt:1: name it",
    );
    refuses(
        "{{ range 5.5 }}{{ end }}",
        "one/templates/NOTES.txt:1: range can't iterate over 5.5 (a float64)",
    );
}

#[test]
fn templates_that_include_themselves_end() {
    let error =
        printed("{{ define \"x\" }}{{ include \"x\" . }}{{ end }}{{ include \"x\" . }}", "{}", json!({}));
    let Err(RenderError::Template { failure, .. }) = error else { panic!("{error:?}") };
    assert_eq!(failure.message, "templates include each other more than 64 deep");
}

#[test]
fn a_cluster_that_is_too_old_is_named() {
    let old = Release { kube_version: "v1.20.3-eks-1".parse().unwrap(), ..release() };
    let Err(RenderError::KubeVersion { got, wants, .. }) = render(Chart::Ztunnel, &old, &json!({})) else {
        panic!("it rendered")
    };
    assert_eq!((got.minor, wants.as_str()), (20, ">=1.27.0-0"));
}

#[test]
fn values_for_a_subchart_must_be_a_map() {
    let error = render(Chart::Adit, &release(), &json!({"ztunnel": 5}));
    let Err(RenderError::SubchartValues { key, .. }) = error else { panic!("{error:?}") };
    assert_eq!(key, "ztunnel");
}

#[test]
fn subcharts_get_their_part_the_globals_and_a_switch() {
    let with = |values: Value| render(Chart::Adit, &release(), &values).unwrap().objects;
    let images = |objects: Vec<Value>| -> Vec<String> {
        objects
            .iter()
            .filter_map(|o| o.pointer("/spec/template/spec/containers/0/image")?.as_str().map(str::to_owned))
            .collect()
    };
    let all = images(with(json!({"global": {"hub": "example.com/x"}, "cni": {"tag": "7"}})));
    assert!(all.iter().all(|image| image.starts_with("example.com/x/")), "{all:?}");
    assert!(all.iter().any(|image| image.ends_with(":7")), "{all:?}");
}
