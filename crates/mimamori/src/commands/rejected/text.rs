//! Bytes that anybody may have sent, made fit for a terminal.

use std::fmt::Write as _;

/// Whether a terminal would do something else with it than show it: controls, and what turns the
/// direction of writing or takes no room.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with hidden characters as JSON escapes them.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|char| put(char, &mut shown));
    shown
}

/// The same, but the ends of lines are left as they are.
pub fn visible_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(visible).collect();
    lines.join("\n")
}

/// The first characters of what need not be text, on one line; what is no UTF-8 as `\xff`.
pub fn excerpt(bytes: &[u8], most: usize) -> String {
    let mut shown = String::new();
    let mut count = 0;
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if count == most {
                shown.push('…');
                return shown;
            }
            put(char, &mut shown);
            count += 1;
        }
        for byte in chunk.invalid() {
            if count == most {
                shown.push('…');
                return shown;
            }
            // Writing into a text cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
            count += 1;
        }
    }
    shown
}

fn put(char: char, shown: &mut String) {
    match char {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        hidden if is_hidden(hidden) => {
            let _ = write!(shown, "\\u{:04x}", u32::from(hidden));
        }
        char => shown.push(char),
    }
}

/// JSON, indented. Nothing else about it changes: order, doubled fields and the digits of numbers stay.
/// The text must be JSON.
pub fn indented(json: &str) -> String {
    let mut shown = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut after_backslash = false;
    let mut is_fresh = false;
    let new_line = |depth: usize, shown: &mut String| {
        shown.push('\n');
        shown.extend(std::iter::repeat_n("  ", depth));
    };
    for char in json.chars() {
        if in_text {
            put(char, &mut shown);
            in_text = char != '"' || after_backslash;
            after_backslash = char == '\\' && !after_backslash;
            continue;
        }
        if matches!(char, ' ' | '\n' | '\r' | '\t') {
            continue;
        }
        let closes = matches!(char, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // An empty object or array stays on its line.
        if is_fresh != closes {
            new_line(depth, &mut shown);
        }
        is_fresh = false;
        match char {
            '{' | '[' => {
                depth += 1;
                is_fresh = true;
            }
            '"' => in_text = true,
            _ => {}
        }
        shown.push(char);
        match char {
            ',' => new_line(depth, &mut shown),
            ':' => shown.push(' '),
            _ => {}
        }
    }
    shown
}

/// Sixteen bytes a line: where they stand, in hexadecimal, and as text.
pub fn hex_dump(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for (line, part) in bytes.chunks(16).enumerate() {
        let _ = write!(shown, "{:08x} ", line * 16);
        for column in 0..16 {
            let gap = if column == 8 { " " } else { "" };
            match part.get(column) {
                Some(byte) => {
                    let _ = write!(shown, "{gap} {byte:02x}");
                }
                None => {
                    let _ = write!(shown, "{gap}   ");
                }
            }
        }
        let text = part.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        shown.push_str("  |");
        shown.extend(text);
        shown.push_str("|\n");
    }
    shown
}

/// In hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(shown, "{byte:02x}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_in_its_place() {
        let hostile = "a\u{1b}[2Jb\u{9b}31mc\r\n\u{7f}\u{202e}守";
        let shown = "a\\u001b[2Jb\\u009b31mc\\r\\n\\u007f\\u202e守";
        assert_eq!(visible(hostile), shown);
        assert_eq!(excerpt(hostile.as_bytes(), 100), shown);
        assert_eq!(visible_lines("a\n\tb\r\n"), "a\n\\tb\\r\n");
    }

    #[test]
    fn an_excerpt_is_bounded_whatever_the_bytes_are() {
        assert_eq!(excerpt("守守守".as_bytes(), 2), "守守…");
        assert_eq!(excerpt("守守".as_bytes(), 2), "守守");
        assert_eq!(excerpt(b"a\xff\xfeb", 10), "a\\xff\\xfeb");
        assert_eq!(excerpt(&[0xff; 100_000], 3), "\\xff\\xff\\xff…");
        assert_eq!(excerpt(&[0; 100_000], 2), "\\u0000\\u0000…");
        assert_eq!(excerpt(b"", 2), "");
    }

    #[test]
    fn indenting_changes_nothing_but_the_space() {
        let json = r#"{"b":[1,2.50,{}],"a":{"t":"x, {\"y\": [1]}\\","e":[]},"b":1e400, "n" : null}"#;
        let shown = "\
{
  \"b\": [
    1,
    2.50,
    {}
  ],
  \"a\": {
    \"t\": \"x, {\\\"y\\\": [1]}\\\\\",
    \"e\": []
  },
  \"b\": 1e400,
  \"n\": null
}";
        assert_eq!(indented(json), shown);
        assert_eq!(indented(" 7 "), "7");
        assert_eq!(indented("\"\u{9b}\""), "\"\\u009b\"");
        assert_eq!(indented("[\n]"), "[]");
    }

    #[test]
    fn a_dump_tells_every_byte() {
        let bytes: Vec<u8> = (0x1c..0x30).collect();
        assert_eq!(
            hex_dump(&bytes),
            "00000000  1c 1d 1e 1f 20 21 22 23  24 25 26 27 28 29 2a 2b  |.... !\"#$%&'()*+|\n\
             00000010  2c 2d 2e 2f                                       |,-./|\n"
        );
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
