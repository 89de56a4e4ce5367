//! Go templates as Helm runs them: files and their `define`s in one library, then every file with the values of its chart.

mod error;
mod eval;
mod exec;
mod functions;
mod scope;
pub(super) mod value;
mod yaml;

use std::rc::Rc;

use gotmpl::TemplateError;
use gotmpl::parse::Parser;

pub use self::error::{Failure, Place};
use self::exec::{Library, Named, Run};
pub(super) use self::value::Value;
pub(super) use self::yaml::print as yaml;

/// Every template of a release.
#[derive(Default)]
pub(super) struct Templates {
    library: Library,
}

impl Templates {
    /// Adds a file. Among templates of one name the last added wins, so the order is Helm's: deepest path first.
    pub(super) fn add(&mut self, file: &str, source: &str) -> Result<(), Failure> {
        add_text(&mut self.library, file, &file.into(), source)
    }

    /// What a file prints with `dot`.
    pub(super) fn execute(&self, file: &str, dot: &Value) -> Result<String, Failure> {
        match self.library.get(file) {
            Some(named) => Run::execute(&self.library, named, dot, 0),
            None => Err(Failure::new(place(file, 1), "no such template")),
        }
    }
}

/// Executes a text with a library's templates at hand; what it defines is its own.
fn run_text(
    library: &Library,
    file: &Rc<str>,
    source: &str,
    dot: &Value,
    depth: usize,
) -> Result<String, Failure> {
    let mut library: Library = library.clone();
    add_text(&mut library, TPL, file, source)?;
    let named: Option<Named> = library.get(TPL).cloned();
    match named {
        Some(named) => Run::execute(&library, &named, dot, depth),
        None => Ok(String::new()),
    }
}

fn add_text(library: &mut Library, name: &str, file: &Rc<str>, source: &str) -> Result<(), Failure> {
    let (body, defines) = Parser::with_name(Some(file), source, "{{", "}}")
        .and_then(Parser::parse)
        .map_err(|error| unreadable(file, error))?;
    exec::add(library, name, file, body, defines);
    Ok(())
}

fn unreadable(file: &str, error: TemplateError) -> Failure {
    if let TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } = error {
        return Failure::new(place(file, line), message);
    }
    Failure::new(place(file, 1), error.to_string())
}

fn place(file: &str, line: usize) -> Place {
    Place { file: file.to_owned(), line }
}

/// The name of a text that `tpl` runs.
const TPL: &str = "(tpl)";
