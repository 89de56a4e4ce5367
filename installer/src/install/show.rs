//! A plan for people and for programs, before anything of it is done.

use serde::Serialize;
use serde_json::Value;

use crate::output::{Output, Style};
use crate::plan::{FieldChange, Plan, Step, Verdict};

/// A plan as programs read it.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    /// The kubeconfig's context.
    pub context: &'a str,
    /// What the charts are told about the nodes.
    pub platform: String,
    /// Object by object.
    pub steps: Vec<ShownStep<'a>>,
    /// Whether it was carried out.
    pub applied: bool,
}

/// One object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownStep<'a> {
    /// Which.
    #[serde(flatten)]
    pub id: &'a crate::object::Id,
    /// What is done to it.
    #[serde(flatten)]
    pub verdict: &'a Verdict,
}

impl<'a> Shown<'a> {
    /// Of this plan.
    #[must_use]
    pub fn new(context: &'a str, platform: String, plan: &'a Plan, applied: bool) -> Self {
        let steps = plan.steps.iter().map(|step| ShownStep { id: &step.id, verdict: &step.verdict });
        Self { context, platform, steps: steps.collect(), applied }
    }
}

/// Shows people what would be done; what stays as it is only by number.
pub fn show(output: &Output, plan: &Plan) {
    for step in &plan.steps {
        if step.verdict != Verdict::Keep {
            let style = style(&step.verdict);
            let word = output.paint(style, &format!("{:9}", step.verdict.word()));
            output.line(format_args!("  {word}  {}", step.id));
            for line in details(step) {
                output.line(format_args!("               {}", output.paint(Style::Faint, &line)));
            }
        }
    }
    let kept = plan.steps.iter().filter(|step| step.verdict == Verdict::Keep).count();
    if kept > 0 {
        output.line(format_args!("  {kept} objects stay as they are"));
    }
}

const fn style(verdict: &Verdict) -> Style {
    match verdict {
        Verdict::Keep => Style::Plain,
        Verdict::Create => Style::Good,
        Verdict::Change { .. } | Verdict::TakeOver { .. } => Style::Warning,
        Verdict::Owned { .. } | Verdict::Conflict { .. } | Verdict::Remove => Style::Bad,
    }
}

fn details(step: &Step) -> Vec<String> {
    match &step.verdict {
        Verdict::Keep | Verdict::Create | Verdict::Remove => Vec::new(),
        Verdict::Change { changes } if changes.is_empty() => {
            vec!["as it should be, but nobody says whose it is".to_owned()]
        }
        Verdict::Change { changes } => changes.iter().map(line).collect(),
        Verdict::TakeOver { from, changes } => {
            let from = format!(
                "from {from}; what only it set goes, and `adit uninstall --restore` puts all of it back"
            );
            std::iter::once(from).chain(changes.iter().map(line)).collect()
        }
        Verdict::Owned { by } => vec![format!("of {by}")],
        Verdict::Conflict { conflicts } => {
            conflicts.iter().map(|it| format!("{} is owned by {}", it.field, it.owner)).collect()
        }
    }
}

/// One field, on one line.
fn line(change: &FieldChange) -> String {
    let field = &change.field;
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{field}: {} → {}", short(from), short(to)),
        (None, Some(to)) => format!("{field}: + {}", short(to)),
        (Some(from), None) => format!("{field}: - {}", short(from)),
        (None, None) => field.clone(),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

/// As much of a value as fits beside its path.
const SHOWN: usize = 60;

#[cfg(test)]
mod tests;
