use super::*;

fn name(hub: &str, tag: &str) -> Result<String, ReferenceError> {
    Reference::new(hub, "adit-proxy", tag).map(|reference| reference.to_string())
}

#[test]
fn a_name_is_hub_image_and_tag() {
    assert_eq!(name("ghcr.io/adit-mesh", "0.1.0").unwrap(), "ghcr.io/adit-mesh/adit-proxy:0.1.0");
    assert_eq!(name("localhost:5001/", "dev").unwrap(), "localhost:5001/adit-proxy:dev");
    assert_eq!(name("registry.local/a/b_c", "_1").unwrap(), "registry.local/a/b_c/adit-proxy:_1");
}

#[test]
fn a_hub_without_a_registry_is_refused_as_runtimes_would_ask_docker_hub_for_it() {
    let refused = name("adit-mesh", "0.1.0").unwrap_err();
    assert_eq!(refused, ReferenceError::Host("adit-mesh".to_owned(), "adit-mesh".to_owned()));
    assert!(refused.to_string().contains("ghcr.io/adit-mesh"), "{refused}");
    assert!(matches!(name("", "1"), Err(ReferenceError::Host(..))));
}

#[test]
fn a_path_or_tag_that_runtimes_refuse_is_refused_here_by_its_name() {
    for hub in ["ghcr.io/Adit", "ghcr.io/a//b", "ghcr.io/-a", "ghcr.io/a b"] {
        assert!(matches!(name(hub, "1"), Err(ReferenceError::Path(..))), "{hub}");
    }
    for tag in ["", ".1", "-1", "a/b", "a:b", "a b"] {
        assert_eq!(name("ghcr.io/a", tag), Err(ReferenceError::Tag(tag.to_owned())));
    }
    assert!(matches!(name("ghcr.io/a", &"a".repeat(129)), Err(ReferenceError::Tag(_))));
}
