//! The variables of a running template: a stack of blocks, innermost last.

use super::value::Value;

/// Variables by name; a block forgets its own when it ends.
pub(super) struct Scope {
    variables: Vec<(String, Value)>,
}

impl Scope {
    /// Only `$`, which is what the template was given.
    pub(super) fn new(root: Value) -> Self {
        Self { variables: vec![("$".to_owned(), root)] }
    }

    /// Where a block begins.
    pub(super) fn mark(&self) -> usize {
        self.variables.len()
    }

    /// Forgets what was declared since.
    pub(super) fn release(&mut self, mark: usize) {
        self.variables.truncate(mark);
    }

    /// `$name := value`.
    pub(super) fn declare(&mut self, name: &str, value: Value) {
        self.variables.push((name.to_owned(), value));
    }

    /// `$name = value`; false when nobody declared it.
    pub(super) fn assign(&mut self, name: &str, value: Value) -> bool {
        for (known, slot) in self.variables.iter_mut().rev() {
            if known == name {
                *slot = value;
                return true;
            }
        }
        false
    }

    /// The innermost of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}
