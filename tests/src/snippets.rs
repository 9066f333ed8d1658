//! The fenced snippets of the documentation, as people paste them.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::root;

/// A fenced block of a Markdown file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// Its place, as `docs/collector.md:120`: the line of its fence.
    pub place: String,
    /// The heading it stands under.
    pub heading: String,
    /// What it says it is written in.
    pub language: String,
    /// What stands between the fences.
    pub text: String,
}

/// The fenced blocks of a file of the project, in their order.
///
/// # Errors
/// The file cannot be read, or a fence is never closed.
pub fn snippets(file: &str) -> anyhow::Result<Vec<Snippet>> {
    let path = root().join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    read(Path::new(file), &text)
}

fn read(file: &Path, text: &str) -> anyhow::Result<Vec<Snippet>> {
    let mut found = Vec::new();
    let mut heading = String::new();
    let mut open: Option<Snippet> = None;
    for (line, number) in text.lines().zip(1..) {
        let fence = line.strip_prefix("```");
        match (&mut open, fence) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(snippet), None) => {
                snippet.text.push_str(line);
                snippet.text.push('\n');
            }
            (None, Some(language)) => {
                open = Some(Snippet {
                    place: format!("{}:{number}", file.display()),
                    heading: heading.clone(),
                    language: language.trim().to_owned(),
                    text: String::new(),
                });
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    heading = title.trim_start_matches('#').trim().to_owned();
                }
            }
        }
    }
    ensure!(open.is_none(), "a fence of {} is never closed", file.display());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_what_stands_between_its_fences() {
        let text = "# One\n```sh\n# no heading\ntrue\n```\n## Two\nwords\n\n```\nplain\n```\n";
        let found = read(Path::new("x.md"), text).expect("it is whole");
        let told = found.iter().map(|snippet| {
            (
                snippet.place.as_str(),
                snippet.heading.as_str(),
                snippet.language.as_str(),
                snippet.text.as_str(),
            )
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("x.md:2", "One", "sh", "# no heading\ntrue\n"),
                ("x.md:9", "Two", "", "plain\n")
            ]
        );
        assert!(read(Path::new("x.md"), "```\n").is_err());
    }
}
