use super::*;

fn version(text: &str) -> KubeVersion {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn servers_write_their_version_in_many_ways() {
    for (text, minor, shown) in [
        ("v1.33.1", 33, "v1.33.1"),
        ("1.27", 27, "v1.27"),
        ("v1.29.1-gke.100", 29, "v1.29.1-gke.100"),
        ("v1.28+", 28, "v1.28+"),
    ] {
        assert_eq!((version(text).minor, version(text).to_string().as_str()), (minor, shown));
    }
    for text in ["", "v1", "latest", "v.1"] {
        assert_eq!(text.parse::<KubeVersion>(), Err(NoVersion(text.to_owned())));
    }
}

#[test]
fn a_chart_says_the_oldest_that_it_wants() {
    assert_eq!(version("v1.27.0-rc.1").meets(">=1.27.0-0"), Ok(true));
    assert_eq!(version("v1.26.9").meets(">=1.27.0-0"), Ok(false));
    assert_eq!(version("v2.0.0").meets(">= 1.27.0-0"), Ok(true));
    assert_eq!(version("v1.1.0").meets(""), Ok(true));
    assert_eq!(version("v1.1.0").meets("~1.2"), Err(NoVersion("~1.2".to_owned())));
}
