//! Evaluates pipelines and expressions of a running template.

use gotmpl::parse::{CommandNode, Expr, Number, PipeNode, Pos, SmolStr};

use super::error::Failure;
use super::exec::Run;
use super::functions;
use super::value::Value;

impl Run<'_> {
    /// A pipeline's value, kept in its variable when it declares one.
    pub(super) fn pipeline(&mut self, pipe: &PipeNode, dot: &Value) -> Result<Value, Failure> {
        let value = self.value_of(pipe, dot)?;
        if let Some(name) = pipe.decl.first() {
            self.keep(pipe, name, value.clone())?;
        }
        Ok(value)
    }

    /// A pipeline's value, its variables left alone.
    pub(super) fn value_of(&mut self, pipe: &PipeNode, dot: &Value) -> Result<Value, Failure> {
        let mut piped = None;
        for command in &pipe.commands {
            piped = Some(self.command(command, dot, piped)?);
        }
        Ok(piped.unwrap_or(Value::Nil))
    }

    fn command(
        &mut self,
        command: &CommandNode,
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Failure> {
        let Some((first, rest)) = command.args.split_first() else {
            return Err(self.failure(command.pos, "an empty command"));
        };
        if let Expr::Identifier(pos, name) = first {
            return self.call(name, rest, dot, piped, *pos);
        }
        if let Expr::Chain(pos, inner, fields) = first
            && let Expr::Identifier(_, name) = inner.as_ref()
        {
            let value = self.call(name, rest, dot, piped, *pos)?;
            return self.fields(value, fields, *pos);
        }
        let value = self.raw(first, dot)?;
        let Value::Method(method) = value else {
            if piped.is_some() || !rest.is_empty() {
                return Err(self.failure(first.pos(), "can't give argument to non-function"));
            }
            return Ok(value);
        };
        let mut arguments = self.arguments(rest, dot)?;
        arguments.extend(piped);
        method(&arguments).map_err(|message| self.failure(first.pos(), message))
    }

    fn arguments(&mut self, expressions: &[Expr], dot: &Value) -> Result<Vec<Value>, Failure> {
        expressions.iter().map(|expression| self.expression(expression, dot)).collect()
    }

    fn call(
        &mut self,
        name: &SmolStr,
        rest: &[Expr],
        dot: &Value,
        piped: Option<Value>,
        pos: Pos,
    ) -> Result<Value, Failure> {
        if name == "and" || name == "or" {
            return self.shortcut(name == "or", rest, dot, piped);
        }
        let mut arguments = self.arguments(rest, dot)?;
        arguments.extend(piped);
        match (name.as_str(), arguments.as_slice()) {
            ("include", [Value::Text(template), dot]) => {
                self.call_template(template, dot, pos).map(Value::text)
            }
            ("tpl", [Value::Text(source), dot]) => self.tpl(source, dot, pos).map(Value::text),
            ("include" | "tpl", _) => {
                Err(self.failure(pos, format!("{name} takes a text and what `.` is in it")))
            }
            ("fail", [message]) => Err(self.failure(pos, message.to_string()).meant()),
            ("required", [message, value]) => {
                if matches!(value, Value::Nil) || matches!(value, Value::Text(text) if text.is_empty()) {
                    return Err(self.failure(pos, message.to_string()).meant());
                }
                Ok(value.clone())
            }
            _ => functions::call(name, &arguments)
                .map_err(|message| self.failure(pos, format!("{name}: {message}"))),
        }
    }

    /// `and` and `or` look no further than they need to.
    fn shortcut(
        &mut self,
        stops_on: bool,
        rest: &[Expr],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Failure> {
        let mut last = Value::Nil;
        for expression in rest {
            last = self.expression(expression, dot)?;
            if last.is_true() == stops_on {
                return Ok(last);
            }
        }
        Ok(piped.unwrap_or(last))
    }

    fn expression(&mut self, expression: &Expr, dot: &Value) -> Result<Value, Failure> {
        let value = self.raw(expression, dot)?;
        if let Value::Method(method) = &value {
            return method(&[]).map_err(|message| self.failure(expression.pos(), message));
        }
        Ok(value)
    }

    /// An expression's value; a method stays a method.
    fn raw(&mut self, expression: &Expr, dot: &Value) -> Result<Value, Failure> {
        match expression {
            Expr::Dot(_) => Ok(dot.clone()),
            Expr::Nil(_) => Ok(Value::Nil),
            Expr::Bool(_, truth) => Ok(Value::Bool(*truth)),
            Expr::String(_, text) => Ok(Value::text(text.as_ref())),
            Expr::Number(_, Number::Int(number)) => Ok(Value::Int(*number)),
            Expr::Number(_, Number::Float(number)) => Ok(Value::Float(*number)),
            Expr::Number(pos, Number::Uint(number)) => {
                Err(self.failure(*pos, format!("{number} overflows int")))
            }
            Expr::Field(pos, fields) => self.fields(dot.clone(), fields, *pos),
            Expr::Variable(pos, name, fields) => {
                let Some(value) = self.scope.get(name).cloned() else {
                    return Err(self.failure(*pos, format!("undefined variable {name:?}")));
                };
                self.fields(value, fields, *pos)
            }
            Expr::Identifier(pos, name) => self.call(name, &[], dot, None, *pos),
            Expr::Pipe(_, pipe) => self.pipeline(pipe, dot),
            Expr::Chain(pos, inner, fields) => {
                let value = self.expression(inner, dot)?;
                self.fields(value, fields, *pos)
            }
        }
    }

    fn fields(&self, mut value: Value, fields: &[SmolStr], pos: Pos) -> Result<Value, Failure> {
        for name in fields {
            value = match &value {
                Value::Map(map) => map.borrow().get(name.as_str()).cloned().unwrap_or(Value::Nil),
                Value::Object(object) => match object.fields.get(name.as_str()) {
                    Some(field) => field.clone(),
                    None => return Err(self.failure(pos, format!("can't evaluate field {name}"))),
                },
                Value::Nil => {
                    let message = format!("nil pointer evaluating interface {{}}.{name}");
                    return Err(self.failure(pos, message));
                }
                Value::Bool(_)
                | Value::Int(_)
                | Value::Float(_)
                | Value::Text(_)
                | Value::List(_)
                | Value::Method(_) => {
                    let message = format!("can't evaluate field {name} in type {}", value.kind());
                    return Err(self.failure(pos, message));
                }
            };
        }
        Ok(value)
    }

    /// Text of a value as a template of its own, which sees every named template.
    fn tpl(&self, source: &str, dot: &Value, pos: Pos) -> Result<String, Failure> {
        super::run_text(self.library, &self.file, source, dot, self.depth + 1)
            .map_err(|failure| failure.called_from(&self.file, pos.line, "tpl"))
    }
}
