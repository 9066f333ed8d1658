//! From the text of an expression to a [`Condition`].
//!
//! The text is CEL and the parser is the crate `cel`; what its tree may hold is the business of
//! [`checker`]. Both recurse: [`MAX_LENGTH`], [`MAX_NESTING`] and [`MAX_CHOICES`] bound how deep, and
//! [`with_deep_stack`] gives them the room.

use cel::parser::{ParseErrors, Parser};

use crate::rules::checker;
use crate::rules::condition::Condition;
use crate::rules::names::NumberName;

/// The most bytes of an expression.
const MAX_LENGTH: usize = 2_000;

/// The most brackets that are open at once.
const MAX_NESTING: usize = 12;

/// The most `? :` in an expression.
const MAX_CHOICES: usize = 16;

/// Unoptimised, the parser takes some 150 KB of stack for a bracket.
const STACK_BYTES: usize = 16 << 20;

/// An expression that was checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    pub(crate) condition: Condition,
    /// The numbers that it names, each once, in the order of the text.
    pub(crate) numbers: Vec<NumberName>,
}

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    pub(crate) problem: String,
}

/// Runs `work` with the stack that [`Expression::compile`] needs.
///
/// # Errors
/// Says so when there is no such stack to be had, or the parser failed.
pub(crate) fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("rules".to_string())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| format!("cannot start the thread that reads them: {error}"))?;
        thread
            .join()
            .map_err(|_| "the CEL parser failed on one of them".to_string())
    })
}

impl Expression {
    /// Compiles `source`, which must say whether something holds. To be run
    /// [`with_deep_stack`].
    pub(crate) fn compile(source: &str) -> Result<Expression, Mistake> {
        check_size(source).map_err(|problem| problem.in_source(source))?;
        let (tree, positions) = Parser::new()
            .parse_with_source_info(source)
            .map_err(|errors| syntax_mistake(&errors, source))?;
        let (condition, numbers) =
            checker::check(&tree, positions).map_err(|problem| problem.in_source(source))?;
        Ok(Expression { condition, numbers })
    }
}

/// What is wrong, and at which byte.
pub(crate) struct Problem {
    pub(crate) at: usize,
    pub(crate) problem: String,
}

impl Problem {
    fn in_source(self, source: &str) -> Mistake {
        let before = source.get(..self.at.min(source.len())).unwrap_or(source);
        let line_begins = before.rfind('\n').map_or(0, |place| place + 1);
        Mistake {
            line: before.matches('\n').count() + 1,
            column: before[line_begins..].chars().count() + 1,
            problem: self.problem,
        }
    }
}

fn check_size(source: &str) -> Result<(), Problem> {
    let problem = |at, problem| Err(Problem { at, problem });
    if source.trim().is_empty() {
        return problem(0, "is empty; write a condition such as logins_7d < 3".to_string());
    }
    if source.len() > MAX_LENGTH {
        return problem(
            0,
            format!(
                "has {} bytes, {MAX_LENGTH} are the most; make two rules of it",
                source.len()
            ),
        );
    }
    // What stands in quotes is counted too: that only makes the bound stricter.
    let (mut open, mut choices) = (0_usize, 0);
    for (at, byte) in source.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'?' => choices += 1,
            _ => {}
        }
        if open > MAX_NESTING {
            return problem(at, format!("more than {MAX_NESTING} brackets are open at once"));
        }
        if choices > MAX_CHOICES {
            return problem(at, format!("more than {MAX_CHOICES} choices with ?"));
        }
    }
    Ok(())
}

/// The first thing that the parser did not like, in fewer words than it uses.
fn syntax_mistake(errors: &ParseErrors, source: &str) -> Mistake {
    let Some(error) = errors.errors.first() else {
        let problem = "is not CEL".to_string();
        return Problem { at: 0, problem }.in_source(source);
    };
    let message = error.msg.trim_start_matches("Syntax error: ");
    // What could come instead is everything that CEL knows.
    let message = message.split(" expecting ").next().unwrap_or(message);
    let quoted = message.split('\'').nth(1).map(str::trim);
    let problem = match quoted {
        Some("<EOF>") => "the expression ends where a value is missing".to_string(),
        Some("=") => "= is no operator, write == to compare".to_string(),
        Some("&" | "and" | "AND") => "write && for \"and\"".to_string(),
        Some("|" | "or" | "OR") => "write || for \"or\"".to_string(),
        _ if message.starts_with("token recognition error at: '\"")
            || message.starts_with("token recognition error at: ''") =>
        {
            "the text that begins here has no closing quote".to_string()
        }
        _ if message.contains("has() macro") => {
            "has() is for fields; known(name) tells whether a number is known".to_string()
        }
        _ => message.to_string(),
    };
    Mistake {
        line: usize::try_from(error.pos.0).unwrap_or(1).max(1),
        column: usize::try_from(error.pos.1).unwrap_or(1).max(1),
        problem,
    }
}
