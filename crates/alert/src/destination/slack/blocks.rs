//! A message in Slack's blocks, within Slack's limits: 50 blocks, 150 characters of a header, 3,000 of a
//! text, 10 fields of 2,000.
//!
//! `&`, `<` and `>` are escaped in every text that comes from outside, so that none of it becomes a
//! mention or a link; `verbatim` keeps Slack from making links of what looks like one.

use serde_json::{Value, json};

use crate::destination::message::{Fact, Message, Subject};
use crate::destination::words;

const HEADER: usize = 150;
const TEXT: usize = 3_000;
const FIELD: usize = 2_000;
const FIELDS: usize = 10;
const URL: usize = 3_000;

/// Of the parts of a text, so that all of them fit: two reasons and three drivers, or five facts.
const REASON: usize = 800;
const SHORT: usize = 400;

/// `text` with `&`, `<` and `>` escaped: at most `limit` characters as they are sent, the last of which
/// says that there was more. No escape is cut in two.
pub(super) fn escape(text: &str, limit: usize) -> String {
    let mut escaped = String::with_capacity(text.len());
    // Where to cut, should it turn out too long, to have room for the last character.
    let mut cut = 0;
    let mut length = 0;
    for letter in text.chars() {
        let before = escaped.len();
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            letter => escaped.push(letter),
        }
        length += escaped[before..].chars().count();
        if length > limit {
            escaped.truncate(cut);
            escaped.push('…');
            break;
        }
        if length < limit {
            cut = escaped.len();
        }
    }
    escaped
}

/// What notifications show and what stands in for the blocks where there are none.
pub(super) fn fallback(message: &Message) -> String {
    let mut text = format!("{} {}", mark(message), message.title);
    for reason in &message.reasons {
        text.push_str(" — ");
        text.push_str(&words::one_line(reason));
    }
    escape(&text, TEXT)
}

/// Who, why, the numbers, and where to look.
pub(super) fn blocks(message: &Message) -> Vec<Value> {
    let title = format!("{} {}", mark(message), message.title);
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "text": escape(&title, HEADER), "emoji": true},
    })];
    let who = who(message);
    if !who.is_empty() {
        blocks.push(section(&who));
    }
    if !message.reasons.is_empty() || !message.drivers.is_empty() {
        blocks.push(section(&why(message)));
    }
    if !message.items.is_empty() {
        blocks.push(section(&list(&message.items)));
    }
    if !message.numbers.is_empty() {
        let fields: Vec<Value> = message.numbers.iter().take(FIELDS).map(field).collect();
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    if let Some(link) = message.link.as_ref().filter(|link| link.chars().count() <= URL) {
        let word = if message.account_name().is_empty() {
            words::OPEN_PAGE
        } else {
            words::OPEN_ACCOUNT
        };
        blocks.push(json!({
            "type": "actions",
            "elements": [{
                "type": "button",
                "text": {"type": "plain_text", "text": message.language.word(word)},
                "url": link,
            }],
        }));
    }
    let footer = footer(message);
    if !footer.is_empty() {
        blocks.push(json!({"type": "context", "elements": [mrkdwn(&footer)]}));
    }
    blocks
}

/// What makes the state visible in a list of messages.
fn mark(message: &Message) -> &'static str {
    match (message.subject, message.severity.as_str()) {
        (Subject::Ended, _) => "✅",
        (Subject::Acknowledged, _) => "👀",
        (Subject::Digest, _) => "📋",
        (Subject::Held, _) => "🛑",
        (Subject::Test, _) => "🧪",
        (_, _) if message.is_opportunity => "🌱",
        (_, "critical") => "🔴",
        (_, "warning") => "🟠",
        _ => "🔵",
    }
}

fn who(message: &Message) -> String {
    let owner_label = message.language.word(words::OWNER);
    let mut facts = Vec::with_capacity(message.who.len());
    for fact in &message.who {
        let mut value = escape(&fact.value, SHORT);
        if let Some((_, owner)) = &message.owner
            && fact.label == owner_label
            && !owner.slack.is_empty()
        {
            // The id was checked to be nothing but one.
            value = format!("{value} <@{}>", owner.slack);
        }
        facts.push(format!("*{}* {value}", escape(&fact.label, SHORT)));
    }
    facts.join("  ·  ")
}

fn why(message: &Message) -> String {
    let mut lines = vec![format!("*{}*", message.language.word(words::WHY))];
    lines.extend(message.reasons.iter().map(|reason| escape(reason, REASON)));
    lines.extend(
        message
            .drivers
            .iter()
            .map(|driver| format!("• {}", escape(driver, SHORT))),
    );
    lines.join("\n")
}

/// As many whole lines as there is room for.
fn list(items: &[String]) -> String {
    let mut text = String::new();
    let mut length = 0;
    for item in items {
        let line = format!("• {}\n", escape(item, 300));
        length += line.chars().count();
        if length > TEXT - 2 {
            text.push('…');
            break;
        }
        text.push_str(&line);
    }
    text.trim_end().to_string()
}

fn field(fact: &Fact) -> Value {
    mrkdwn(&format!(
        "*{}*\n{}",
        escape(&fact.label, FIELD / 2 - 4),
        escape(&fact.value, FIELD / 2 - 4)
    ))
}

fn footer(message: &Message) -> String {
    let mut parts = Vec::new();
    let rule = message.rule();
    if !rule.is_empty() {
        parts.push(format!("{}: {rule}", message.language.word(words::RULE)));
    }
    if !message.severity.is_empty() {
        let severity = words::severity(&message.severity);
        parts.push(format!(
            "{}: {}",
            message.language.word(words::SEVERITY),
            message.language.word(severity)
        ));
    }
    parts.push(message.timestamp.clone());
    parts.push(message.alert_id.clone());
    parts.retain(|part| !part.is_empty());
    escape(&words::one_line(&parts.join(" · ")), TEXT)
}

/// A section of text that is escaped already and, by its parts, short enough.
fn section(text: &str) -> Value {
    json!({"type": "section", "text": mrkdwn(text)})
}

fn mrkdwn(text: &str) -> Value {
    debug_assert!(
        text.chars().count() <= TEXT,
        "{} characters",
        text.chars().count()
    );
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}
