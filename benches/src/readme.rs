//! Tables of figures that stand in a README.

use anyhow::Context;

/// The text with `content` between the lines `<!-- NAME -->` and `<!-- /NAME -->`, in place of what is there.
///
/// # Errors
/// A marker is missing.
pub fn put_between_markers(text: &str, name: &str, content: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text
        .split_once(&begin)
        .with_context(|| format!("there is no line {begin:?}"))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("there is no line {end:?}"))?;
    Ok(format!("{before}{begin}{}\n{end}{after}", content.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_between_the_markers_is_replaced() {
        let text = "a\n<!-- peers -->\nold\nolder\n<!-- /peers -->\nb\n";
        let once = put_between_markers(text, "peers", "new\n").unwrap();
        assert_eq!(once, "a\n<!-- peers -->\nnew\n<!-- /peers -->\nb\n");
        assert_eq!(put_between_markers(&once, "peers", "new").unwrap(), once);
        assert!(put_between_markers(text, "others", "new").is_err());
    }
}
