//! The page of all checks: docs/checks.md, and what `--explain` says.

use std::fmt::Write as _;

use super::catalog::{Area, Check, When, checks};

/// One check, in words.
pub(super) fn explain(id: &str) -> Option<String> {
    checks().find(|check| check.id == id).map(section)
}

/// All of them.
pub(super) fn page() -> String {
    let mut text = HEAD.to_owned();
    for area in Area::ALL {
        // Writing to a string does not fail.
        let _ = write!(text, "\n## {}\n", area.name());
        for check in checks().filter(|check| check.area == area) {
            text.push('\n');
            text.push_str(&section(check));
        }
    }
    text
}

fn section(check: &Check) -> String {
    let when = match check.when {
        When::Always => "before and after an installation",
        When::Before => "before an installation (`--pre`)",
        When::After => "after an installation",
        When::Probed => "before an installation, with `--node-probe`",
    };
    let Check { id, title, about, hint, .. } = check;
    format!("### {id}\n\nOught to hold: {title}. Asked {when}.\n\n{about}\n\nIf not: {hint}.\n")
}

const HEAD: &str = "\
# Checks

`adit check --pre` tells whether a cluster can take Adit, `adit check` whether Adit works there; with `--wait 5m` it checks again while
there are errors. `--node-probe` runs a short-lived pod on each node, from the agent's image, that tries the kernel and reads the CNI
directories. `adit check --explain ID` says what stands here of one check.

A check finds that all is as it should be (`ok`), something that works, or may, and is worth a look (`warning`), or something that does
not work (`error`). What could not be read is a warning, never `ok`. Exit codes: 0 without errors, 1 with errors, 2 when there is no
cluster to ask, 4 when errors remain after `--wait`.

`-o json` writes one document. Fields may be added, none changes its meaning:

| field | |
|---|---|
| `version` | of `adit` |
| `stage` | `before` or `after` |
| `result` | the worst of the findings: `ok`, `warning` or `error` |
| `counts` | findings by severity: `ok`, `warning`, `error` |
| `findings[]` | in the order of the checks; a check may have more than one |
| `findings[].id` | of the check, as below; it does not change |
| `findings[].area` | the heading it stands under |
| `findings[].title` | what ought to hold |
| `findings[].severity` | `ok`, `warning` or `error` |
| `findings[].subject` | what it is about, as `node worker-1`; empty for the cluster as a whole |
| `findings[].message` | what was found |
| `findings[].hint` | what to do; null where nothing has to be done |
| `findings[].docs` | where more is said |

`-o short` writes only what is wrong: severity, id, subject and message, a line each.
";
