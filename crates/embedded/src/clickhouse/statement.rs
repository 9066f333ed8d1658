//! One statement from its request to its response, on a thread of its own.
//!
//! What is kept true:
//! - data of an INSERT never become part of the statement's text; they are handed to the engine
//!   as they come, and an insert whose request breaks off is cancelled;
//! - memory holds a statement's text, bounded, and a few pieces of data or of the result, but
//!   never a whole body, save the data of VALUES (they are looked through) and a result in a
//!   format that cannot be sent in parts;
//! - a connection whose session state may have changed is not used again.

use std::{
    io::{self, BufRead, Read},
    sync::Arc,
    time::Instant,
};

use super::{
    compression::Encoder,
    exception::{Exception, code},
    guard,
    library::{Answer, Connection, Stats},
    pool::{Pool, Profile},
    request::{Encoding, Request},
    running::Ticket,
    sql::{self, Header, Insert, InsertParts},
    transfer::{BodyReader, Capped, Reply},
};

/// Pieces in which data are handed to the engine.
const PIECE_BYTES: usize = 256 << 10;

/// What a statement needs from its surroundings.
pub(super) struct Surroundings<'a> {
    pub pool: &'a Pool,
    pub ticket: &'a Arc<Ticket>,
    pub max_statement_bytes: u64,
    pub max_body_bytes: u64,
    pub started: Instant,
}

impl Request {
    /// How the response goes out.
    pub fn encoder(&self) -> Encoder {
        match self.encoding {
            Encoding::Plain => Encoder::Plain,
            Encoding::Blocks => Encoder::Blocks,
            Encoding::Lz4 => Encoder::lz4(),
        }
    }
}

/// Runs what `request` asks for and answers it, whether it succeeds or fails.
///
/// The answer ends only when the connection is free again: the client's next request may need
/// the same session.
pub(super) fn run(around: &Surroundings, request: Request, body: BodyReader, mut reply: Reply) {
    match execute(around, request, body, &mut reply) {
        Ok(()) => reply.end(),
        Err(exception) => reply.fail(&around.ticket.reason_for(exception)),
    }
}

/// A request of which all is read but the data of an INSERT that may be of any size.
struct Prepared<'a> {
    statement: Statement,
    /// The first of the data.
    data: Vec<u8>,
    body: Capped<Box<dyn Read + 'a>>,
}

impl<'a> Prepared<'a> {
    fn read(
        request: &mut Request,
        body: impl BufRead + 'a,
        max_statement_bytes: u64,
        max_body_bytes: u64,
    ) -> Result<Prepared<'a>, Exception> {
        let mut body = Capped::new(request.decoding.reader(body), max_body_bytes);
        if request.boundary.is_some() {
            let mut form = Vec::new();
            read_bounded(&mut body, &mut form, max_statement_bytes)?;
            request.take_form(&form)?;
        }
        let text = std::mem::take(&mut request.query);
        let (text, insert) = read_statement(text, request, &mut body, max_statement_bytes)?;
        let statement = Statement::examine(text, insert)?;
        let data = match &statement.insert {
            Some(insert) => checked_data(&statement, insert, &mut body, max_statement_bytes)?,
            None => Vec::new(),
        };
        Ok(Prepared {
            statement,
            data,
            body,
        })
    }
}

/// What [`super::read_request`] gives: the statement's first word and how many bytes of data follow it.
pub(super) fn read_whole(
    mut request: Request,
    body: &[u8],
    max_statement_bytes: u64,
    max_body_bytes: u64,
) -> Result<(String, u64), Exception> {
    let mut prepared = Prepared::read(&mut request, body, max_statement_bytes, max_body_bytes)?;
    let rest = io::copy(&mut prepared.body, &mut io::sink())?;
    Ok((prepared.statement.word, prepared.data.len() as u64 + rest))
}

/// Everything but the answer's end.
fn execute(
    around: &Surroundings,
    mut request: Request,
    body: BodyReader,
    reply: &mut Reply,
) -> Result<(), Exception> {
    let Prepared {
        statement,
        data,
        mut body,
    } = Prepared::read(
        &mut request,
        body,
        around.max_statement_bytes,
        around.max_body_bytes,
    )?;

    let profile = Profile {
        database: request.database.clone(),
        settings: request.settings.clone(),
    };
    if let Some(session) = &request.session {
        let slot = around.pool.session(session)?;
        let mut guard = slot.lock(around.pool, &profile)?;
        let tagged = guard.tagged();
        let working = around.ticket.begin(&tagged.tag)?;
        let done = statement.run_on(&mut tagged.connection, &request, around, data, &mut body, reply);
        drop(working);
        if statement.word == "USE" {
            tagged.forget_database();
        }
        around.pool.touch(&slot.id);
        return done;
    }
    let mut tagged = around.pool.take(&profile)?;
    let working = around.ticket.begin(&tagged.tag)?;
    let done = statement.run_on(&mut tagged.connection, &request, around, data, &mut body, reply);
    drop(working);
    // Anything may be amiss with a connection whose statement failed.
    if done.is_ok() && statement.leaves_the_session_alone() {
        around.pool.give_back(tagged);
    }
    done
}

/// Reads as much of the body as is needed to know the statement, and splits an INSERT from its
/// data. Text from the URL comes first.
fn read_statement(
    mut text: Vec<u8>,
    request: &Request,
    body: &mut impl Read,
    limit: u64,
) -> Result<(Vec<u8>, Option<InsertParts>), Exception> {
    let is_insert = |text: &[u8]| sql::first_word(text) == "INSERT";
    if !text.is_empty() {
        if is_insert(&text) {
            match sql::insert(&text, true) {
                Insert::Data(parts) => return Ok((text, Some(parts))),
                Insert::Undecided if request.names_a_format => {
                    let parts = InsertParts {
                        head: text.len(),
                        format: request.format.clone(),
                        data: text.len(),
                    };
                    return Ok((text, Some(parts)));
                }
                Insert::Undecided | Insert::Select => {}
            }
        }
        text.push(b'\n');
    }
    // Looking again only after the text has doubled keeps the work linear.
    let mut look_at = 1;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = body.read(&mut piece)?;
        text.extend_from_slice(&piece[..read]);
        let complete = read == 0;
        if (complete || text.len() >= look_at) && is_insert(&text) {
            if let Insert::Data(parts) = sql::insert(&text, complete) {
                return Ok((text, Some(parts)));
            }
            look_at = text.len() * 2;
        }
        if complete {
            return Ok((text, None));
        }
        if text.len() as u64 > limit {
            return Err(too_long("the statement's text", limit));
        }
    }
}

/// The data that came along with an INSERT's text; for VALUES all data, looked through.
fn checked_data(
    statement: &Statement,
    insert: &InsertParts,
    body: &mut impl Read,
    limit: u64,
) -> Result<Vec<u8>, Exception> {
    let mut data = statement.text[insert.data..].to_vec();
    if insert.format.eq_ignore_ascii_case("Values") {
        read_bounded(body, &mut data, limit)?;
        guard::check_values(&data)?;
    }
    Ok(data)
}

fn read_bounded(body: &mut impl Read, into: &mut Vec<u8>, limit: u64) -> Result<(), Exception> {
    body.take(limit + 1).read_to_end(into)?;
    if into.len() as u64 > limit {
        return Err(too_long("the statement with its data", limit));
    }
    Ok(())
}

fn too_long(what: &str, limit: u64) -> Exception {
    Exception::new(
        code::QUERY_IS_TOO_LARGE,
        format!("{what} is longer than {limit} bytes"),
    )
}

struct Statement {
    text: Vec<u8>,
    /// The first word, in capitals.
    word: String,
    insert: Option<InsertParts>,
}

impl Statement {
    fn examine(text: Vec<u8>, insert: Option<InsertParts>) -> Result<Statement, Exception> {
        let sql_length = insert.as_ref().map_or(text.len(), |insert| insert.head);
        let sql = &text[..sql_length];
        let word = sql::first_word(sql);
        if word.is_empty() {
            return Err(Exception::new(
                code::SYNTAX_ERROR,
                "syntax error: the text holds no statement",
            ));
        }
        // The library's own client would take these as orders to itself.
        if matches!(word.as_str(), "EXIT" | "QUIT" | "LOGOUT" | "Q") {
            return Err(Exception::new(
                code::SYNTAX_ERROR,
                format!("syntax error: {word} is no statement"),
            ));
        }
        if sql::has_several_statements(sql) {
            return Err(Exception::new(
                code::SYNTAX_ERROR,
                "multi-statements are not allowed",
            ));
        }
        guard::check(sql)?;
        Ok(Statement { text, word, insert })
    }

    /// Whether the connection can serve others afterwards. Words that are not known to leave no
    /// trace count as leaving one.
    fn leaves_the_session_alone(&self) -> bool {
        match self.word.as_str() {
            "SELECT" | "WITH" | "FROM" | "INSERT" | "SHOW" | "DESCRIBE" | "DESC" | "EXISTS" | "EXPLAIN"
            | "CHECK" | "ALTER" | "OPTIMIZE" | "TRUNCATE" | "RENAME" | "DELETE" | "UPDATE" | "KILL"
            | "SYSTEM" => true,
            "CREATE" | "DROP" => !sql::tokens(&self.text).any(|token| token.is_word(&self.text, "TEMPORARY")),
            _ => false,
        }
    }

    fn run_on(
        &self,
        connection: &mut Connection,
        request: &Request,
        around: &Surroundings,
        data: Vec<u8>,
        body: &mut impl Read,
        reply: &mut Reply,
    ) -> Result<(), Exception> {
        if let Some(insert) = &self.insert {
            return self.insert_data(connection, request, around, insert, data, body, reply);
        }
        let reads = matches!(self.word.as_str(), "SELECT" | "WITH" | "FROM");
        if reads
            || matches!(
                self.word.as_str(),
                "SHOW" | "DESCRIBE" | "DESC" | "EXISTS" | "EXPLAIN"
            )
        {
            around.ticket.set_reads_only();
        }
        let format = match self.word.as_str() {
            "CREATE" | "ALTER" | "INSERT" => request.format.clone(),
            _ => sql::format_clause(&self.text).unwrap_or_else(|| request.format.clone()),
        };
        if let Some(header) = sql::streamable(&format)
            && reads
            && !request.wait_end_of_query
            && self.send_rows(connection, request, around, &format, header, reply)?
        {
            return Ok(());
        }
        let answer = connection.query(&self.text, &request.format, &request.parameters)?;
        send_whole(answer, &format, around, reply)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, used once")]
    fn insert_data(
        &self,
        connection: &mut Connection,
        request: &Request,
        around: &Surroundings,
        insert: &InsertParts,
        data: Vec<u8>,
        body: &mut impl Read,
        reply: &mut Reply,
    ) -> Result<(), Exception> {
        let head = self.text[..insert.head].trim_ascii_end();
        let mut stream = connection.insert(head, &insert.format, &request.parameters)?;
        let mut takes_more = data.is_empty() || stream.append(&data);
        drop(data);
        let mut piece = vec![0; PIECE_BYTES];
        while takes_more {
            match body.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => takes_more = stream.append(&piece[..read]),
                Err(error) => {
                    stream.cancel();
                    return Err(error.into());
                }
            }
        }
        let stats = stream.finish()?;
        send_whole(
            Answer {
                data: Vec::new(),
                stats,
            },
            &request.format,
            around,
            reply,
        )
    }

    /// Sends a result chunk by chunk; `false` when the engine cannot give it so.
    fn send_rows(
        &self,
        connection: &mut Connection,
        request: &Request,
        around: &Surroundings,
        format: &str,
        header: Header,
        reply: &mut Reply,
    ) -> Result<bool, Exception> {
        let mut rows = match connection.rows(&self.text, &request.format, &request.parameters) {
            Ok(rows) => rows,
            Err(exception) if exception.to_string().contains("Streaming query is not supported") => {
                return Ok(false);
            }
            Err(exception) => return Err(exception),
        };
        let mut header_length = 0;
        while let Some(Answer { mut data, stats }) = rows.next()? {
            if reply.has_begun() {
                // Every chunk repeats the header.
                data.drain(..header_length.min(data.len()));
            } else {
                header_length = sql::header_length(header, &data);
                reply.begin(success_headers(format, &stats, around), true)?;
            }
            if !data.is_empty() {
                reply.data(data)?;
            }
        }
        if !reply.has_begun() {
            reply.begin(success_headers(format, &Stats::default(), around), false)?;
        }
        Ok(true)
    }
}

fn send_whole(
    answer: Answer,
    format: &str,
    around: &Surroundings,
    reply: &mut Reply,
) -> Result<(), Exception> {
    reply.begin(
        success_headers(format, &answer.stats, around),
        !answer.data.is_empty(),
    )?;
    if !answer.data.is_empty() {
        reply.data(answer.data)?;
    }
    Ok(())
}

fn success_headers(format: &str, stats: &Stats, around: &Surroundings) -> Vec<(&'static str, String)> {
    let result_rows = stats.result_rows.max(stats.written_rows);
    let summary = format!(
        "{{\"read_rows\":\"{}\",\"read_bytes\":\"{}\",\"written_rows\":\"{}\",\"written_bytes\":\"{}\",\
         \"total_rows_to_read\":\"0\",\"result_rows\":\"{result_rows}\",\"result_bytes\":\"0\",\"elapsed_ns\":\"{}\"}}",
        stats.read_rows,
        stats.read_bytes,
        stats.written_rows,
        stats.written_bytes,
        around.started.elapsed().as_nanos(),
    );
    vec![
        ("content-type", sql::content_type(format).to_owned()),
        ("x-clickhouse-format", format.to_owned()),
        ("x-clickhouse-summary", summary),
    ]
}
