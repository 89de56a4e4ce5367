//! Executes parsed templates: control flow, variables and named templates, with the place of every failure.
//!
//! The parser is the library's. Execution is ours because Helm's charts need maps that `set` changes for everybody,
//! methods with arguments, and errors that name a file and a line.

use std::collections::BTreeMap;
use std::rc::Rc;

use gotmpl::parse::{BranchNode, DefineNode, ListNode, Node, PipeNode, Pos};

use super::error::{Failure, Place};
use super::scope::Scope;
use super::value::Value;

/// A named template: a file, or a `define` in one.
#[derive(Clone)]
pub(super) struct Named {
    /// The file it stands in.
    pub(super) file: Rc<str>,
    /// Its parsed body.
    pub(super) body: Rc<ListNode>,
}

/// All templates of a release by name.
pub(super) type Library = BTreeMap<String, Named>;

/// One execution of one template; `include` and `tpl` begin another.
pub(super) struct Run<'a> {
    pub(super) library: &'a Library,
    pub(super) file: Rc<str>,
    pub(super) scope: Scope,
    pub(super) depth: usize,
    out: String,
}

/// How a block ended.
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Run<'a> {
    /// Executes `named` with `dot`, `depth` templates deep.
    pub(super) fn execute(
        library: &'a Library,
        named: &Named,
        dot: &Value,
        depth: usize,
    ) -> Result<String, Failure> {
        let mut run = Self {
            library,
            file: Rc::clone(&named.file),
            scope: Scope::new(dot.clone()),
            depth,
            out: String::new(),
        };
        if depth > MAX_DEPTH {
            let message = format!("templates include each other more than {MAX_DEPTH} deep");
            return Err(run.failure(named.body.pos, message));
        }
        run.list(&named.body, dot)?;
        Ok(run.out)
    }

    /// A failure at a place of the file that runs.
    pub(super) fn failure(&self, pos: Pos, message: impl Into<String>) -> Failure {
        Failure::new(Place { file: self.file.to_string(), line: pos.line }, message)
    }

    fn list(&mut self, list: &ListNode, dot: &Value) -> Result<Flow, Failure> {
        for node in &list.nodes {
            match self.node(node, dot)? {
                Flow::Next => {}
                ended @ (Flow::Break | Flow::Continue) => return Ok(ended),
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Failure> {
        match node {
            Node::Text(text) => self.out.push_str(&text.text),
            Node::Action(action) => {
                let value = self.pipeline(&action.pipe, dot)?;
                if action.pipe.decl.is_empty() {
                    self.print(&value, action.pos)?;
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot),
            Node::Template(call) => {
                let dot = match &call.pipe {
                    Some(pipe) => self.pipeline(pipe, dot)?,
                    None => Value::Nil,
                };
                let text = self.call_template(&call.name, &dot, call.pos)?;
                self.out.push_str(&text);
            }
            Node::List(list) => return self.list(list, dot),
            Node::Define(_) => {} // collected when the file was parsed
            Node::Break(_) => return Ok(Flow::Break),
            Node::Continue(_) => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// Go prints `<no value>` for nothing, and Helm takes those words out again.
    fn print(&mut self, value: &Value, pos: Pos) -> Result<(), Failure> {
        match value {
            Value::Nil => {}
            Value::Method(_) => return Err(self.failure(pos, "a method cannot be printed")),
            Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Object(_) => {
                self.out.push_str(&value.to_string().replace("<no value>", ""));
            }
        }
        Ok(())
    }

    fn branch(&mut self, branch: &BranchNode, dot: &Value, moves: bool) -> Result<Flow, Failure> {
        let mark = self.scope.mark();
        let value = self.pipeline(&branch.pipe, dot)?;
        let ended = if value.is_true() {
            self.list(&branch.body, if moves { &value } else { dot })
        } else if let Some(otherwise) = &branch.else_body {
            self.list(otherwise, dot)
        } else {
            Ok(Flow::Next)
        };
        self.scope.release(mark);
        ended
    }

    fn range(&mut self, branch: &BranchNode, dot: &Value) -> Result<Flow, Failure> {
        let mark = self.scope.mark();
        let value = self.value_of(&branch.pipe, dot)?;
        let items = self.items(&value, branch)?;
        if items.is_empty() {
            let ended = match &branch.else_body {
                Some(otherwise) => self.list(otherwise, dot),
                None => Ok(Flow::Next),
            };
            self.scope.release(mark);
            return ended;
        }
        for (index, item) in items {
            self.bind(&branch.pipe, index, &item)?;
            let ended = self.list(&branch.body, &item)?;
            self.scope.release(mark);
            if matches!(ended, Flow::Break) {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn items(&self, value: &Value, branch: &BranchNode) -> Result<Vec<(Value, Value)>, Failure> {
        match value {
            Value::Nil => Ok(Vec::new()),
            Value::List(items) => Ok((0..).map(Value::Int).zip(items.iter().cloned()).collect()),
            Value::Map(map) => {
                Ok(map.borrow().iter().map(|(key, item)| (Value::text(key.as_str()), item.clone())).collect())
            }
            Value::Int(count) if branch.pipe.decl.len() < 2 => {
                Ok((0..*count).map(|i| (Value::Int(i), Value::Int(i))).collect())
            }
            Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Object(_)
            | Value::Method(_) => {
                Err(self
                    .failure(branch.pos, format!("range can't iterate over {value} (a {})", value.kind())))
            }
        }
    }

    /// Gives a turn of `range` its variables.
    fn bind(&mut self, pipe: &PipeNode, index: Value, item: &Value) -> Result<(), Failure> {
        let values = match pipe.decl.as_slice() {
            [] => Vec::new(),
            [only] => vec![(only, item.clone())],
            [first, second, ..] => vec![(first, index), (second, item.clone())],
        };
        for (name, value) in values {
            self.keep(pipe, name, value)?;
        }
        Ok(())
    }

    /// Declares or assigns a pipeline's variable.
    pub(super) fn keep(&mut self, pipe: &PipeNode, name: &str, value: Value) -> Result<(), Failure> {
        if !pipe.is_assign {
            self.scope.declare(name, value);
        } else if !self.scope.assign(name, value) {
            return Err(self.failure(pipe.pos, format!("undefined variable {name:?}")));
        }
        Ok(())
    }

    /// Executes another template and answers with what it printed.
    pub(super) fn call_template(&self, name: &str, dot: &Value, pos: Pos) -> Result<String, Failure> {
        let Some(named) = self.library.get(name) else {
            return Err(self.failure(pos, format!("no template {name:?} is defined")));
        };
        Run::execute(self.library, named, dot, self.depth + 1)
            .map_err(|failure| failure.called_from(&self.file, pos.line, name))
    }
}

/// Puts a parsed text and its `define`s into a library, later ones over earlier ones as Go does.
pub(super) fn add(
    library: &mut Library,
    name: &str,
    file: &Rc<str>,
    body: ListNode,
    defines: Vec<DefineNode>,
) {
    let named = |body: ListNode| Named { file: Rc::clone(file), body: Rc::new(body) };
    for define in defines {
        // Go keeps an earlier body where the later one is only white space.
        if !define.body.is_empty_tree() || !library.contains_key(define.name.as_str()) {
            library.insert(define.name.to_string(), named(define.body));
        }
    }
    library.insert(name.to_owned(), named(body));
}

/// Deeper than any chart of ours, and well within a thread's stack.
const MAX_DEPTH: usize = 64;
