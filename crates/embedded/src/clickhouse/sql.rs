//! As much of ClickHouse's SQL as an HTTP front must understand: tokens, the kind of statement,
//! the `FORMAT` clause, and where an INSERT's text ends and its data begin.
//!
//! Nothing here decides what a statement means (the engine's parser does that); it decides how
//! the statement is handed over: streamed or not, with which format, on a connection that may
//! be used again or not.

/// What a token is. Whitespace and comments are no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bare word: keyword, identifier or function name.
    Word,
    /// An identifier in backticks or double quotes, the quotes included.
    Quoted,
    /// A string literal in single quotes or a heredoc.
    Text,
    Number,
    /// Any other single byte.
    Symbol,
}

/// One token and where it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    pub fn is_word(&self, sql: &[u8], word: &str) -> bool {
        self.kind == Kind::Word && sql[self.start..self.end].eq_ignore_ascii_case(word.as_bytes())
    }

    pub fn is_symbol(&self, sql: &[u8], symbol: u8) -> bool {
        self.kind == Kind::Symbol && sql[self.start] == symbol
    }
}

/// The tokens of a text, one after the other. Never fails: an unclosed quote or comment reaches
/// to the end of the text.
pub(super) struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
    /// How many heredocs were begun and have no end.
    unclosed: usize,
}

/// Heredocs without an end after which no further one is looked for: each look goes through the rest of
/// the text.
const MOST_UNCLOSED: usize = 16;

pub(super) fn tokens(sql: &[u8]) -> Tokens<'_> {
    Tokens {
        sql,
        at: 0,
        unclosed: 0,
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let sql = self.sql;
        self.at = skip_blanks(sql, self.at);
        let start = self.at;
        let first = *sql.get(start)?;
        let (kind, end) = match first {
            b'\'' => (Kind::Text, after_quoted(sql, start)),
            b'`' | b'"' => (Kind::Quoted, after_quoted(sql, start)),
            b'$' => match self.after_heredoc(start) {
                Some(end) => (Kind::Text, end),
                None => (Kind::Symbol, start + 1),
            },
            b'0'..=b'9' => (
                Kind::Number,
                after(sql, start, |c| c.is_ascii_alphanumeric() || c == b'_'),
            ),
            c if is_word_start(c) => (Kind::Word, after(sql, start, is_word_part)),
            _ => (Kind::Symbol, start + 1),
        };
        self.at = end;
        Some(Token { kind, start, end })
    }
}

fn is_word_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_'
}

fn is_word_part(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

fn after(sql: &[u8], start: usize, part: impl Fn(u8) -> bool) -> usize {
    sql[start..]
        .iter()
        .position(|&c| !part(c))
        .map_or(sql.len(), |length| start + length)
}

/// Past whitespace and comments. Bytes outside ASCII stand between tokens only as one of
/// Unicode's blanks, so they count as blanks.
fn skip_blanks(sql: &[u8], mut at: usize) -> usize {
    loop {
        let rest = &sql[at.min(sql.len())..];
        let Some(&first) = rest.first() else {
            return sql.len();
        };
        at += if first.is_ascii_whitespace() || first == b'\x0b' || first == 0 || !first.is_ascii() {
            1
        } else if rest.starts_with(b"--") || rest.starts_with(b"#!") || rest.starts_with(b"# ") {
            rest.iter().position(|&c| c == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            rest[2..]
                .windows(2)
                .position(|pair| pair == b"*/")
                .map_or(rest.len(), |length| length + 4)
        } else {
            return at;
        };
    }
}

/// Past a quoted run: a backslash takes the next byte with it, a doubled quote stays inside.
fn after_quoted(sql: &[u8], start: usize) -> usize {
    let quote = sql[start];
    let mut at = start + 1;
    while at < sql.len() {
        match sql[at] {
            b'\\' => at += 2,
            c if c == quote && sql.get(at + 1) == Some(&quote) => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    sql.len()
}

impl Tokens<'_> {
    /// Past `$name$ … $name$`, if that is what begins here.
    fn after_heredoc(&mut self, start: usize) -> Option<usize> {
        let sql = self.sql;
        let name_end = after(sql, start + 1, is_word_part);
        if sql.get(name_end) != Some(&b'$') || self.unclosed == MOST_UNCLOSED {
            return None;
        }
        let fence = &sql[start..=name_end];
        let body = &sql[name_end + 1..];
        let Some(length) = body.windows(fence.len()).position(|window| window == fence) else {
            self.unclosed += 1;
            return None;
        };
        Some(name_end + 1 + length + fence.len())
    }
}

/// Whether quoting in this text could be read in more than one way: heredocs or typographic
/// quotes stand outside its strings. Who looks for words in such a text should look inside its
/// strings too.
pub(super) fn quoting_is_doubtful(sql: &[u8]) -> bool {
    let typographic = |window: &[u8]| window[..2] == [0xE2, 0x80] && (0x98..=0x9F).contains(&window[2]);
    let mut gap = 0;
    for token in tokens(sql) {
        if sql[token.start] == b'$' || sql[gap..token.start].windows(3).any(typographic) {
            return true;
        }
        gap = token.end;
    }
    sql[gap..].windows(3).any(typographic)
}

/// The first word of the statement in capitals, behind comments and opening brackets; empty
/// when the text begins with anything else.
pub(super) fn first_word(sql: &[u8]) -> String {
    for token in tokens(sql) {
        if token.is_symbol(sql, b'(') {
            continue;
        }
        if token.kind != Kind::Word {
            break;
        }
        return String::from_utf8_lossy(&sql[token.start..token.end]).to_ascii_uppercase();
    }
    String::new()
}

/// Whether anything but blanks, comments and further semicolons follows a semicolon.
pub(super) fn has_several_statements(sql: &[u8]) -> bool {
    let mut ended = false;
    for token in tokens(sql) {
        if token.is_symbol(sql, b';') {
            ended = true;
        } else if ended {
            return true;
        }
    }
    false
}

/// The last `FORMAT name` outside brackets, if the statement has one.
pub(super) fn format_clause(sql: &[u8]) -> Option<String> {
    let mut found = None;
    let mut depth = 0_usize;
    let mut previous_is_format = false;
    for token in tokens(sql) {
        if token.is_symbol(sql, b'(') {
            depth += 1;
        } else if token.is_symbol(sql, b')') {
            depth = depth.saturating_sub(1);
        }
        if previous_is_format && token.kind == Kind::Word {
            found = Some(String::from_utf8_lossy(&sql[token.start..token.end]).into_owned());
        }
        previous_is_format = depth == 0 && token.is_word(sql, "FORMAT");
    }
    found
}

/// Where an INSERT's own text ends, and in which format the data after it are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InsertParts {
    /// Length of the text before `FORMAT …` or `VALUES`.
    pub head: usize,
    /// `Values` when the statement said VALUES.
    pub format: String,
    /// Where the data begin.
    pub data: usize,
}

/// What an INSERT's text says about its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Insert {
    /// Data follow.
    Data(InsertParts),
    /// The rows come out of a query.
    Select,
    /// The text ends before it says either.
    Undecided,
}

/// Reads the head of an INSERT. With `complete` false more text may follow, and a name that
/// touches the end of the text is left undecided.
pub(super) fn insert(sql: &[u8], complete: bool) -> Insert {
    let mut depth = 0_usize;
    // A word right after one of these is a name, whatever it reads like.
    let mut name_follows = false;
    let mut format_at = None;
    for token in tokens(sql) {
        let touches_end = token.end == sql.len() && !complete;
        if token.is_symbol(sql, b'(') {
            depth += 1;
        } else if token.is_symbol(sql, b')') {
            depth = depth.saturating_sub(1);
        }
        if let Some(head) = format_at {
            if touches_end {
                return Insert::Undecided;
            }
            let format = String::from_utf8_lossy(&sql[token.start..token.end]).into_owned();
            return match after_format_name(sql, token.end, complete) {
                Some(data) => Insert::Data(InsertParts { head, format, data }),
                None => Insert::Undecided,
            };
        }
        if token.kind == Kind::Word && depth == 0 && !name_follows && !touches_end {
            let word = |word| token.is_word(sql, word);
            if word("FORMAT") {
                format_at = Some(token.start);
            } else if word("VALUES") {
                return Insert::Data(InsertParts {
                    head: token.start,
                    format: "Values".into(),
                    data: token.end,
                });
            } else if word("SELECT") || word("WITH") || word("WATCH") {
                return Insert::Select;
            }
        }
        name_follows = ["INTO", "TABLE", "FUNCTION"]
            .iter()
            .any(|word| token.is_word(sql, word))
            || token.is_symbol(sql, b'.');
    }
    // `VALUES` as the very last word of a complete text is caught above; this is a bare head.
    Insert::Undecided
}

/// Data begin after the format's name, the blanks on its line and one line break.
fn after_format_name(sql: &[u8], name_end: usize, complete: bool) -> Option<usize> {
    let mut at = after(sql, name_end, |c| matches!(c, b' ' | b'\t' | b'\x0c'));
    if at == sql.len() && !complete {
        return None;
    }
    if sql.get(at) == Some(&b'\r') {
        at += 1;
    }
    if at == sql.len() && !complete {
        return None;
    }
    if sql.get(at) == Some(&b'\n') {
        at += 1;
    }
    Some(at)
}

/// What a format writes before the rows, in every chunk of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Nothing,
    /// So many lines.
    Lines(usize),
    /// The count of columns, their names and their types, as length-prefixed strings.
    NamesAndTypes,
    /// The count of columns and their names.
    Names,
}

/// How a result in this format can be sent in parts: what to leave out from the second part on.
/// `None` for formats whose parts do not add up to a whole (JSON, Pretty, Values, Parquet …).
pub(super) fn streamable(format: &str) -> Option<Header> {
    let header = match format.to_ascii_lowercase().as_str() {
        "rowbinary"
        | "native"
        | "tabseparated"
        | "tsv"
        | "tabseparatedraw"
        | "tsvraw"
        | "csv"
        | "tskv"
        | "jsoneachrow"
        | "jsonlines"
        | "ndjson"
        | "jsonstringseachrow"
        | "jsoncompacteachrow"
        | "jsoncompactstringseachrow" => Header::Nothing,
        "rowbinarywithnamesandtypes" => Header::NamesAndTypes,
        "rowbinarywithnames" => Header::Names,
        "tabseparatedwithnames"
        | "tsvwithnames"
        | "tabseparatedrawwithnames"
        | "tsvrawwithnames"
        | "csvwithnames"
        | "jsoncompacteachrowwithnames"
        | "jsoncompactstringseachrowwithnames" => Header::Lines(1),
        "tabseparatedwithnamesandtypes"
        | "tsvwithnamesandtypes"
        | "tabseparatedrawwithnamesandtypes"
        | "tsvrawwithnamesandtypes"
        | "csvwithnamesandtypes"
        | "jsoncompacteachrowwithnamesandtypes"
        | "jsoncompactstringseachrowwithnamesandtypes" => Header::Lines(2),
        _ => return None,
    };
    Some(header)
}

/// Length of the header at the start of a chunk; 0 when the chunk does not hold a whole one.
pub(super) fn header_length(header: Header, chunk: &[u8]) -> usize {
    match header {
        Header::Nothing => 0,
        Header::Lines(lines) => {
            let ends = chunk.iter().enumerate().filter(|(_, c)| **c == b'\n');
            ends.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or(0)
        }
        Header::Names => binary_header(chunk, 1).unwrap_or(0),
        Header::NamesAndTypes => binary_header(chunk, 2).unwrap_or(0),
    }
}

fn binary_header(chunk: &[u8], strings_per_column: usize) -> Option<usize> {
    let mut at = 0;
    let columns = varint(chunk, &mut at)?;
    for _ in 0..columns.checked_mul(strings_per_column)? {
        let length = varint(chunk, &mut at)?;
        at = at.checked_add(length).filter(|&at| at <= chunk.len())?;
    }
    Some(at)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= usize::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The MIME type ClickHouse gives to a format.
pub(super) fn content_type(format: &str) -> &'static str {
    let lower = format.to_ascii_lowercase();
    match lower.as_str() {
        "json" | "jsoncompact" | "jsonstrings" | "jsoncompactstrings" | "jsoncolumns" => {
            "application/json; charset=UTF-8"
        }
        _ if lower.contains("eachrow") || lower == "jsonlines" || lower == "ndjson" => {
            "application/x-ndjson; charset=UTF-8"
        }
        _ if lower.starts_with("csv") => "text/csv; charset=UTF-8; header=present",
        _ if lower.starts_with("tabseparated") || lower.starts_with("tsv") => {
            "text/tab-separated-values; charset=UTF-8"
        }
        _ if lower.starts_with("rowbinary")
            || [
                "native",
                "parquet",
                "orc",
                "arrow",
                "arrowstream",
                "avro",
                "msgpack",
            ]
            .contains(&lower.as_str()) =>
        {
            "application/octet-stream"
        }
        _ => "text/plain; charset=UTF-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(head: usize, format: &str, data: usize) -> Insert {
        Insert::Data(InsertParts {
            head,
            format: format.into(),
            data,
        })
    }

    #[test]
    fn the_first_word_stands_behind_comments_and_brackets() {
        assert_eq!(first_word(b" -- hello\n/* a */ ((select 1))"), "SELECT");
        assert_eq!(first_word(b"#! shebang\ninsert into t"), "INSERT");
        assert_eq!(first_word(b"/* never closed"), "");
        assert_eq!(first_word(b"?? hello"), "");
        assert_eq!(first_word(b""), "");
    }

    #[test]
    fn behind_many_heredocs_without_an_end_none_is_looked_for() {
        let closed = "$x$ y $x$";
        let texts = |unclosed: usize| {
            let names: Vec<String> = (0..unclosed).map(|number| format!("${number}$ ")).collect();
            let sql = names.concat() + closed;
            tokens(sql.as_bytes())
                .filter(|token| token.kind == Kind::Text)
                .count()
        };
        assert_eq!(texts(MOST_UNCLOSED - 1), 1);
        assert_eq!(texts(MOST_UNCLOSED), 0);
    }

    #[test]
    fn the_format_clause_is_not_looked_for_in_strings_brackets_or_comments() {
        assert_eq!(
            format_clause(b"select 'x format CSV' format JSON").as_deref(),
            Some("JSON")
        );
        assert_eq!(
            format_clause(b"select format('a', b) from (select 1 format CSV)"),
            None
        );
        assert_eq!(format_clause(b"select 1 -- format CSV"), None);
        assert_eq!(
            format_clause(b"select `format` from t FORMAT TSV settings a=1;").as_deref(),
            Some("TSV")
        );
        assert_eq!(
            format_clause(b"select $x$ format CSV $x$ format\nNative").as_deref(),
            Some("Native")
        );
    }

    #[test]
    fn an_insert_is_split_from_its_data() {
        let sql = b"INSERT INTO t (a, `format`) FORMAT RowBinary\n\x01\x02";
        assert_eq!(insert(sql, true), data(28, "RowBinary", 45));
        let sql = b"insert into t settings x=1 values (1),(2)";
        assert_eq!(insert(sql, true), data(27, "Values", 33));
        assert_eq!(insert(b"insert into t select 1 format CSV", true), Insert::Select);
        assert_eq!(
            insert(b"insert into t (a) with x as (select 1) select 2", true),
            Insert::Select
        );
        assert_eq!(
            insert(b"insert into values.format values (1)", true),
            data(26, "Values", 32)
        );
    }

    #[test]
    fn half_an_insert_is_left_undecided() {
        assert_eq!(insert(b"insert into t for", false), Insert::Undecided);
        assert_eq!(insert(b"insert into t format JSONEach", false), Insert::Undecided);
        assert_eq!(insert(b"insert into t format CSV ", false), Insert::Undecided);
        assert_eq!(insert(b"insert into t format CSV", true), data(14, "CSV", 24));
        assert_eq!(insert(b"insert into t values", false), Insert::Undecided);
    }

    #[test]
    fn only_text_after_a_semicolon_makes_a_second_statement() {
        assert!(!has_several_statements(b"select 1; -- done\n;"));
        assert!(has_several_statements(b"select 1; set x=1"));
        assert!(!has_several_statements(b"select ';', `;` /* ; */"));
    }

    #[test]
    fn headers_of_formats_are_measured() {
        assert_eq!(header_length(Header::NamesAndTypes, b"\x01\x01n\x03abcXYZ"), 7);
        assert_eq!(header_length(Header::Names, b"\x02\x01n\x03abcXYZ"), 7);
        assert_eq!(header_length(Header::Lines(2), b"a\nb\nc\n"), 4);
        assert_eq!(header_length(Header::Lines(2), b"a"), 0);
        assert_eq!(
            header_length(
                Header::NamesAndTypes,
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
            ),
            0
        );
        assert_eq!(streamable("JSON"), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(sql in proptest::collection::vec(any::<u8>(), 0..200), complete: bool) {
            let mut at = 0;
            for token in tokens(&sql) {
                prop_assert!(token.start >= at && token.end > token.start && token.end <= sql.len());
                at = token.end;
            }
            first_word(&sql);
            format_clause(&sql);
            has_several_statements(&sql);
            quoting_is_doubtful(&sql);
            if let Insert::Data(parts) = insert(&sql, complete) {
                prop_assert!(parts.head <= parts.data && parts.data <= sql.len());
            }
            for header in [Header::Lines(2), Header::Names, Header::NamesAndTypes] {
                prop_assert!(header_length(header, &sql) <= sql.len());
            }
        }

        #[test]
        fn no_near_sql_breaks_the_reader(sql in "(insert|select|into|format|values|[ '\"`$;()./*#-]|\\\\|\n|x){0,40}", complete: bool) {
            let sql = sql.as_bytes();
            prop_assert!(tokens(sql).all(|token| token.end <= sql.len()));
            if let Insert::Data(parts) = insert(sql, complete) {
                prop_assert!(parts.data <= sql.len());
            }
        }
    }
}
