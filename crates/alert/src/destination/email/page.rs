//! The two forms of a mail's text: plain and HTML, both saying the same.

use std::fmt::Write;

use crate::destination::message::{Fact, Message};
use crate::destination::words;

/// Text that stands in HTML, also within an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if letter.is_control() && letter != '\n' && letter != '\t' => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// For programs that show no HTML.
pub(super) fn text(message: &Message) -> String {
    let mut paragraphs = vec![message.title.clone()];
    let mut push = |lines: Vec<String>| {
        if !lines.is_empty() {
            paragraphs.push(lines.join("\n"));
        }
    };
    push(
        message
            .reasons
            .iter()
            .map(|reason| words::one_line(reason))
            .collect(),
    );
    let bullets = |lines: &[String]| {
        lines
            .iter()
            .map(|line| format!("- {}", words::one_line(line)))
            .collect()
    };
    push(bullets(&message.drivers));
    push(bullets(&message.items));
    let facts = |facts: &[Fact]| {
        let lines = facts.iter().map(|fact| format!("{}: {}", fact.label, fact.value));
        lines.collect::<Vec<_>>()
    };
    push(facts(&message.who));
    push(facts(&message.numbers));
    push(message.link.iter().cloned().collect());
    push(vec![footer(message)]);
    paragraphs.join("\n\n")
}

/// For the others.
pub(super) fn html(message: &Message) -> String {
    let mut html = String::from(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head>\
         <body style=\"font-family:sans-serif;color:#222;max-width:40em\">\n",
    );
    // Writing into a string cannot fail.
    let _ = writeln!(
        html,
        "<h2 style=\"font-size:1.2em\">{}</h2>",
        escape(&message.title)
    );
    for reason in &message.reasons {
        let _ = writeln!(html, "<p>{}</p>", escape(reason));
    }
    for list in [&message.drivers, &message.items] {
        if !list.is_empty() {
            html.push_str("<ul>\n");
            for line in list {
                let _ = writeln!(html, "<li>{}</li>", escape(line));
            }
            html.push_str("</ul>\n");
        }
    }
    if !message.who.is_empty() || !message.numbers.is_empty() {
        html.push_str("<table style=\"border-collapse:collapse\">\n");
        for Fact { label, value } in message.who.iter().chain(&message.numbers) {
            let _ = writeln!(
                html,
                "<tr><td style=\"padding:2px 16px 2px 0;color:#666\">{}</td><td>{}</td></tr>",
                escape(label),
                escape(value)
            );
        }
        html.push_str("</table>\n");
    }
    if let Some(link) = &message.link {
        let word = if message.account_name().is_empty() {
            words::OPEN_PAGE
        } else {
            words::OPEN_ACCOUNT
        };
        let word = message.language.word(word);
        let _ = writeln!(html, "<p><a href=\"{}\">{}</a></p>", escape(link), escape(&word));
    }
    let _ = writeln!(
        html,
        "<p style=\"color:#888;font-size:.85em\">{}</p>",
        escape(&footer(message))
    );
    html.push_str("</body></html>\n");
    html
}

fn footer(message: &Message) -> String {
    let mut parts = vec!["mimamori".to_string()];
    let rule = message.rule();
    if !rule.is_empty() {
        parts.push(format!("{}: {rule}", message.language.word(words::RULE)));
    }
    parts.push(message.timestamp.clone());
    parts.push(message.alert_id.clone());
    parts.retain(|part| !part.is_empty());
    words::one_line(&parts.join(" · "))
}
