//! Under which names a service may be known that a client asks for by a shorter or a longer one.

/// A name to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: String,
    /// How many labels of the asked name are left when a search domain is taken off; `None` when none was.
    pub(super) stripped: Option<usize>,
}

/// Names and domains are in lower case and without a dot at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) namespace: &'a str,
    /// The DNS suffix of the cluster.
    pub(super) domain: &'a str,
}

/// The names that a client may mean, the likeliest first: the one it asked, what Kubernetes would make of it, and both
/// again for what is left when a search domain is taken off, because its resolver may have appended that domain.
pub(super) fn candidates(name: &str, place: Place<'_>, search: &[&str]) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut add = |name: String, stripped| {
        if found.iter().all(|known| known.name != name) {
            found.push(Candidate { name, stripped });
        }
    };
    add(name.to_owned(), None);
    for full in expansions(name, place) {
        add(full, None);
    }
    for domain in search {
        let Some(short) = without(name, domain) else {
            continue;
        };
        let left = Some(labels(short));
        add(short.to_owned(), left);
        for full in expansions(short, place) {
            add(full, left);
        }
    }
    found
}

/// `service`, `service.namespace`, `service.namespace.svc`, and the same for pods with a subdomain, written out.
pub(super) fn expansions(name: &str, place: Place<'_>) -> Vec<String> {
    let Place { namespace, domain } = place;
    let in_svc = name.ends_with(".svc");
    match labels(name) {
        1 => vec![format!("{name}.{namespace}.svc.{domain}")],
        2 => vec![format!("{name}.svc.{domain}"), format!("{name}.{namespace}.svc.{domain}")],
        3 if in_svc => vec![format!("{name}.{domain}"), format!("{name}.svc.{domain}")],
        3 => vec![format!("{name}.svc.{domain}")],
        4 if in_svc => vec![format!("{name}.{domain}")],
        _ => Vec::new(),
    }
}

/// The name, then wildcards that cover it, the longest first.
pub(super) fn with_wildcards(name: &str) -> impl Iterator<Item = String> {
    let above = name.match_indices('.').filter_map(|(dot, _)| name.get(dot..));
    std::iter::once(name.to_owned()).chain(above.map(|above| format!("*{above}")))
}

/// What comes before a domain; `None` when the name is not below it.
fn without<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    name.strip_suffix(domain)?.strip_suffix('.').filter(|short| !short.is_empty())
}

fn labels(name: &str) -> usize {
    name.split('.').count()
}
