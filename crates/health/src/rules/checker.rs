//! The types of an expression: from the parser's tree to a [`Condition`].
//!
//! Names and types are checked here, so that an expression that was compiled cannot fail later. Every
//! number is a double, as is every number written in the expression.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

use crate::rules::condition::{Arithmetic, Comparison, Condition, Number, Text, TextPart};
use crate::rules::expression::Problem;
use crate::rules::names::{LIST, Name, NumberName};

/// The deepest tree; a chain such as `a + b + c` is as deep as it is long.
const MAX_DEPTH: usize = 100;

/// The condition that `tree` is, and the numbers that it names, each once, in the order of the text.
pub(crate) fn check(tree: &IdedExpr, positions: SourceInfo) -> Result<(Condition, Vec<NumberName>), Problem> {
    let mut checker = Checker {
        positions,
        numbers: Vec::new(),
        depth: 0,
    };
    match checker.typed(tree)? {
        Typed::Condition(condition) => Ok((condition, checker.numbers)),
        other => Err(Problem {
            at: 0,
            problem: format!(
                "the whole is {}, it must be a condition such as logins_7d < 3",
                other.kind()
            ),
        }),
    }
}

/// A part of an expression with its type.
enum Typed {
    Condition(Condition),
    Number(Number),
    Text(Text),
    Numbers(Vec<f64>),
    Texts(Vec<String>),
    UnusedKeyFeatures,
}

impl Typed {
    fn kind(&self) -> &'static str {
        match self {
            Typed::Condition(_) => "a condition",
            Typed::Number(_) => "a number",
            Typed::Text(_) => "a text",
            Typed::Numbers(_) => "a list of numbers",
            Typed::Texts(_) | Typed::UnusedKeyFeatures => "a list of texts",
        }
    }
}

struct Checker {
    positions: SourceInfo,
    numbers: Vec<NumberName>,
    depth: usize,
}

impl Checker {
    fn wrong<T>(&self, expression: &IdedExpr, problem: impl Into<String>) -> Result<T, Problem> {
        let at = self
            .positions
            .offset_for(expression.id)
            .map_or(0, |(start, _)| start as usize);
        Err(Problem {
            at,
            problem: problem.into(),
        })
    }

    fn typed(&mut self, expression: &IdedExpr) -> Result<Typed, Problem> {
        if self.depth == MAX_DEPTH {
            return self.wrong(expression, format!("is more than {MAX_DEPTH} operators deep"));
        }
        self.depth += 1;
        let typed = match &expression.expr {
            Expr::Literal(literal) => self.literal(expression, literal),
            Expr::Ident(name) => self.named(expression, name),
            Expr::List(list) => self.list(expression, &list.elements),
            Expr::Call(call) => self.call(expression, call),
            Expr::Select(_) => self.wrong(expression, "names have no fields here, take the . away"),
            Expr::Comprehension(_) => self.wrong(
                expression,
                format!("loops over lists are not supported; write \"name\" in {LIST}, or size({LIST})"),
            ),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                self.wrong(expression, "maps and messages are not supported")
            }
        };
        self.depth -= 1;
        typed
    }

    fn literal(&self, expression: &IdedExpr, literal: &LiteralValue) -> Result<Typed, Problem> {
        Ok(match literal {
            LiteralValue::Boolean(value) => Typed::Condition(Condition::Literal(*value.inner())),
            LiteralValue::Double(value) => Typed::Number(Number::Literal(*value.inner())),
            LiteralValue::Int(value) => Typed::Number(Number::Literal(*value.inner() as f64)),
            LiteralValue::UInt(value) => Typed::Number(Number::Literal(*value.inner() as f64)),
            LiteralValue::String(value) => Typed::Text(Text::Literal(value.inner().to_string())),
            LiteralValue::Null => {
                return self.wrong(
                    expression,
                    "nothing is null; !known(name) tells that a number is unknown",
                );
            }
            LiteralValue::Bytes(_) => return self.wrong(expression, "bytes are not supported"),
        })
    }

    fn named(&mut self, expression: &IdedExpr, name: &str) -> Result<Typed, Problem> {
        match Name::find(name) {
            Some(Name::Number(number)) => {
                self.note(number);
                Ok(Typed::Number(Number::Named(number)))
            }
            Some(Name::Text(text)) => Ok(Typed::Text(Text::Named(text))),
            Some(Name::List) => Ok(Typed::UnusedKeyFeatures),
            None => self.wrong(expression, unknown_name(name)),
        }
    }

    fn note(&mut self, number: NumberName) {
        if !self.numbers.contains(&number) {
            self.numbers.push(number);
        }
    }

    fn list(&self, expression: &IdedExpr, elements: &[IdedExpr]) -> Result<Typed, Problem> {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for element in elements {
            let Expr::Literal(literal) = &element.expr else {
                return self.wrong(
                    element,
                    "a list holds written numbers or texts, such as [\"trial\", \"onboarding\"]",
                );
            };
            match self.literal(element, literal)? {
                Typed::Number(Number::Literal(value)) => numbers.push(value),
                Typed::Text(Text::Literal(value)) => texts.push(value),
                other => return self.wrong(element, format!("{} cannot be in a list", other.kind())),
            }
        }
        match (numbers.is_empty(), texts.is_empty()) {
            (false, true) => Ok(Typed::Numbers(numbers)),
            (true, false) => Ok(Typed::Texts(texts)),
            (true, true) => self.wrong(expression, "the list is empty"),
            (false, false) => self.wrong(expression, "a list holds numbers or texts, not both"),
        }
    }

    fn call(&mut self, expression: &IdedExpr, call: &CallExpr) -> Result<Typed, Problem> {
        let all: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let name = call.func_name.as_str();
        match (name, all.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => {
                let mut parts = Vec::new();
                for side in [left, right] {
                    match self.condition(side, "&&")? {
                        Condition::All(inner) => parts.extend(inner),
                        other => parts.push(other),
                    }
                }
                Ok(Typed::Condition(Condition::All(parts)))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                let mut parts = Vec::new();
                for side in [left, right] {
                    match self.condition(side, "||")? {
                        Condition::Any(inner) => parts.extend(inner),
                        other => parts.push(other),
                    }
                }
                Ok(Typed::Condition(Condition::Any(parts)))
            }
            (operators::LOGICAL_NOT, [inner]) => {
                let inner = self.condition(inner, "!")?;
                Ok(Typed::Condition(Condition::Not(Box::new(inner))))
            }
            (operators::NEGATE, [inner]) => {
                let inner = self.number(inner, "-")?;
                Ok(Typed::Number(Number::Negative(Box::new(inner))))
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                self.choice(expression, condition, then, otherwise)
            }
            (operators::EQUALS, [left, right]) => self.equality(expression, left, right),
            (operators::NOT_EQUALS, [left, right]) => Ok(match self.equality(expression, left, right)? {
                Typed::Condition(Condition::Compare(left, _, right)) => {
                    Typed::Condition(Condition::Compare(left, Comparison::NotEqual, right))
                }
                Typed::Condition(equal) => Typed::Condition(Condition::Not(Box::new(equal))),
                other => other,
            }),
            (operators::IN, [item, list]) => self.membership(expression, item, list),
            ("known", [name]) if call.target.is_none() => self.known(name),
            ("size", [of]) => Ok(Typed::Number(match self.typed(of)? {
                Typed::Text(text) => Number::Length(text),
                Typed::UnusedKeyFeatures => Number::UnusedCount,
                other => {
                    let problem = format!("size() is of a text or of {LIST}, not of {}", other.kind());
                    return self.wrong(of, problem);
                }
            })),
            ("startsWith" | "endsWith" | "contains", [text, part]) if call.target.is_some() => {
                let how = match name {
                    "startsWith" => TextPart::Start,
                    "endsWith" => TextPart::End,
                    _ => TextPart::Anywhere,
                };
                let text = self.text(text, name)?;
                let part = self.text(part, name)?;
                Ok(Typed::Condition(Condition::TextHas(text, how, part)))
            }
            (_, [left, right]) if comparison(name).is_some() => {
                let comparison = comparison(name).unwrap_or(Comparison::Equal);
                let sign = sign(name);
                let (left, right) = (self.number(left, sign)?, self.number(right, sign)?);
                Ok(Typed::Condition(Condition::Compare(left, comparison, right)))
            }
            (_, [left, right]) if arithmetic(name).is_some() => {
                let arithmetic = arithmetic(name).unwrap_or(Arithmetic::Add);
                let sign = sign(name);
                let pair = [self.number(left, sign)?, self.number(right, sign)?];
                Ok(Typed::Number(Number::Arithmetic(Box::new(pair), arithmetic)))
            }
            (operators::MODULO, _) => self.wrong(expression, "% is for whole numbers; numbers are doubles"),
            ("not", _) => self.wrong(expression, "write ! for \"not\""),
            (operators::INDEX, _) => self.wrong(expression, "[ ] after a name is not supported"),
            ("known" | "size", _) => self.wrong(expression, format!("{name}() takes one argument")),
            ("startsWith" | "endsWith" | "contains", _) => {
                self.wrong(expression, format!("write it as plan.{name}(\"pro\")"))
            }
            _ => self.wrong(
                expression,
                format!("there is no {name}(); there are known, size, startsWith, endsWith and contains"),
            ),
        }
    }

    fn choice(
        &mut self,
        expression: &IdedExpr,
        condition: &IdedExpr,
        then: &IdedExpr,
        otherwise: &IdedExpr,
    ) -> Result<Typed, Problem> {
        let condition = self.condition(condition, "?")?;
        match (self.typed(then)?, self.typed(otherwise)?) {
            (Typed::Condition(then), Typed::Condition(otherwise)) => {
                Ok(Typed::Condition(Condition::Choose(Box::new([
                    condition, then, otherwise,
                ]))))
            }
            (Typed::Number(then), Typed::Number(otherwise)) => Ok(Typed::Number(Number::Choose(Box::new((
                condition, then, otherwise,
            ))))),
            (Typed::Text(then), Typed::Text(otherwise)) => {
                Ok(Typed::Text(Text::Choose(Box::new((condition, then, otherwise)))))
            }
            (then, otherwise) => {
                let (then, otherwise) = (then.kind(), otherwise.kind());
                let problem = format!(
                    "both sides of : must be numbers, texts or conditions, they are {then} and {otherwise}"
                );
                self.wrong(expression, problem)
            }
        }
    }

    fn equality(
        &mut self,
        expression: &IdedExpr,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Typed, Problem> {
        let condition = match (self.typed(left)?, self.typed(right)?) {
            (Typed::Number(one), Typed::Number(other)) => Condition::Compare(one, Comparison::Equal, other),
            (Typed::Condition(one), Typed::Condition(other)) => Condition::Agree(Box::new([one, other])),
            (Typed::Text(one), Typed::Text(other)) => {
                self.check_value(&one, &other, right)?;
                self.check_value(&other, &one, left)?;
                Condition::TextsEqual(one, other)
            }
            (one, other) => {
                let hint = match (&one, &other) {
                    (Typed::Text(text), Typed::Number(_)) | (Typed::Number(_), Typed::Text(text)) => {
                        values_of(text)
                    }
                    _ => String::new(),
                };
                let problem = format!("{} and {} are never equal{hint}", one.kind(), other.kind());
                return self.wrong(expression, problem);
            }
        };
        Ok(Typed::Condition(condition))
    }

    fn membership(
        &mut self,
        expression: &IdedExpr,
        item: &IdedExpr,
        list: &IdedExpr,
    ) -> Result<Typed, Problem> {
        let condition = match (self.typed(item)?, self.typed(list)?) {
            (Typed::Number(number), Typed::Numbers(list)) => Condition::NumberIn(number, list),
            (Typed::Text(text), Typed::Texts(values)) => {
                if let Expr::List(written) = &list.expr {
                    for (value, at) in values.iter().zip(&written.elements) {
                        self.check_value(&text, &Text::Literal(value.clone()), at)?;
                    }
                }
                Condition::TextIn(text, values)
            }
            (Typed::Text(text), Typed::UnusedKeyFeatures) => Condition::IsUnused(text),
            (item, list) => {
                let problem = format!(
                    "{} cannot be in {}; after \"in\" stands a list of the same kind",
                    item.kind(),
                    list.kind()
                );
                return self.wrong(expression, problem);
            }
        };
        Ok(Typed::Condition(condition))
    }

    fn known(&mut self, argument: &IdedExpr) -> Result<Typed, Problem> {
        let Expr::Ident(name) = &argument.expr else {
            return self.wrong(argument, "known() takes the name of a number or text");
        };
        Ok(Typed::Condition(match Name::find(name) {
            Some(Name::Number(number)) => {
                self.note(number);
                Condition::NumberIsKnown(number)
            }
            Some(Name::Text(text)) => Condition::TextIsKnown(text),
            Some(Name::List) => return self.wrong(argument, format!("{LIST} is always known")),
            None => return self.wrong(argument, unknown_name(name)),
        }))
    }

    /// Refuses a written text that the one it is compared with cannot be.
    fn check_value(&self, text: &Text, value: &Text, at: &IdedExpr) -> Result<(), Problem> {
        let (Text::Named(name), Text::Literal(value)) = (text, value) else {
            return Ok(());
        };
        match name.values() {
            Some(values) if !values.contains(&value.as_str()) => {
                let name = name.as_str();
                self.wrong(
                    at,
                    format!("{name} is never {value:?}; it is one of {}", values.join(", ")),
                )
            }
            _ => Ok(()),
        }
    }

    fn condition(&mut self, expression: &IdedExpr, sign: &str) -> Result<Condition, Problem> {
        match self.typed(expression)? {
            Typed::Condition(condition) => Ok(condition),
            other => self.wrong(
                expression,
                format!(
                    "{sign} is for conditions, this is {}; compare it, as in logins_7d < 3",
                    other.kind()
                ),
            ),
        }
    }

    fn number(&mut self, expression: &IdedExpr, sign: &str) -> Result<Number, Problem> {
        match self.typed(expression)? {
            Typed::Number(number) => Ok(number),
            other => {
                let hint = match &other {
                    Typed::Text(text) => values_of(text),
                    _ => String::new(),
                };
                let problem = format!("{sign} is for numbers, this is {}{hint}", other.kind());
                self.wrong(expression, problem)
            }
        }
    }

    fn text(&mut self, expression: &IdedExpr, function: &str) -> Result<Text, Problem> {
        match self.typed(expression)? {
            Typed::Text(text) => Ok(text),
            other => self.wrong(
                expression,
                format!("{function}() is for texts, this is {}", other.kind()),
            ),
        }
    }
}

fn unknown_name(name: &str) -> String {
    match Name::nearest(name) {
        Some(nearest) => format!("there is no {name}; did you mean {nearest}?"),
        None => format!("there is no {name}; docs/numbers.md lists the names"),
    }
}

fn values_of(text: &Text) -> String {
    let Text::Named(name) = text else {
        return String::new();
    };
    match name.values() {
        Some(values) => format!(
            "; compare {} with == to one of {}",
            name.as_str(),
            values.join(", ")
        ),
        None => format!("; {} is a text", name.as_str()),
    }
}

fn comparison(operator: &str) -> Option<Comparison> {
    match operator {
        operators::LESS => Some(Comparison::Less),
        operators::LESS_EQUALS => Some(Comparison::LessOrEqual),
        operators::GREATER => Some(Comparison::Greater),
        operators::GREATER_EQUALS => Some(Comparison::GreaterOrEqual),
        _ => None,
    }
}

fn arithmetic(operator: &str) -> Option<Arithmetic> {
    match operator {
        operators::ADD => Some(Arithmetic::Add),
        operators::SUBSTRACT => Some(Arithmetic::Subtract),
        operators::MULTIPLY => Some(Arithmetic::Multiply),
        operators::DIVIDE => Some(Arithmetic::Divide),
        _ => None,
    }
}

/// An operator as people write it: `_<=_` is `<=`.
fn sign(operator: &str) -> &str {
    operator.trim_matches('_')
}
