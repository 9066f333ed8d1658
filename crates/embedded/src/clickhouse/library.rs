//! The engine's C library behind types that cannot be misused.
//!
//! What is kept true here, so that no caller needs `unsafe`:
//! - every pointer that the library handed out lives in exactly one value and is given back
//!   exactly once, when that value is dropped;
//! - a connection runs one statement at a time: statements borrow it mutably for as long as
//!   they run;
//! - the library stays loaded until the process ends: its threads outlive every value here.
//!
//! Every call may block and may use several megabytes of stack, so calls belong on threads made
//! by [`spawn`].

#![allow(unsafe_code)]
// Calling a C library is the purpose of this one file; each block says why it is sound.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    io,
    marker::PhantomData,
    path::Path,
    ptr::NonNull,
    thread,
};

use super::exception::Exception;

/// Stack of a thread that calls the library: a deeply nested expression takes megabytes.
const STACK_BYTES: usize = 8 << 20;

/// Runs `work` on a thread with the stack that the library needs.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(work)
}

type RawConnection = *mut c_void;
type RawResult = *mut c_void;
type RawInsert = *mut c_void;

/// Statement, format, and names and values of parameters, each with its length.
type StartStatement = unsafe extern "C" fn(
    RawConnection,
    *const u8,
    usize,
    *const u8,
    usize,
    *const *const u8,
    *const usize,
    *const *const u8,
    *const usize,
    usize,
) -> *mut c_void;

/// Declares the struct of functions and the loading of each by its name.
macro_rules! functions {
    ($($field:ident = $symbol:literal: $type:ty;)*) => {
        struct Functions {
            $($field: $type,)*
        }

        impl Functions {
            fn find(library: &libloading::Library) -> Result<Functions, libloading::Error> {
                Ok(Functions {
                    // SAFETY: the types are those of the library's header at the one version
                    // whose checksum is verified; the library is never unloaded, so the
                    // pointers stay valid.
                    $($field: unsafe { *library.get::<$type>($symbol)? },)*
                })
            }
        }
    };
}

functions! {
    version = b"chdb_version": unsafe extern "C" fn() -> *const c_char;
    set_signal_handlers = b"chdb_set_signal_handlers_enabled": unsafe extern "C" fn(c_int);
    connect = b"chdb_connect": unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut RawConnection;
    close = b"chdb_close_conn": unsafe extern "C" fn(*mut RawConnection);
    shutdown = b"chdb_shutdown": unsafe extern "C" fn() -> c_int;
    query = b"chdb_query_with_params_n": StartStatement;
    stream = b"chdb_stream_query_with_params_n": StartStatement;
    fetch = b"chdb_stream_fetch_result": unsafe extern "C" fn(RawConnection, RawResult) -> RawResult;
    cancel = b"chdb_stream_cancel_query": unsafe extern "C" fn(RawConnection, RawResult);
    destroy = b"chdb_destroy_query_result": unsafe extern "C" fn(RawResult);
    insert = b"chdb_stream_insert_with_params_n": StartStatement;
    insert_append = b"chdb_stream_append": unsafe extern "C" fn(RawInsert, *const c_void, usize) -> c_int;
    insert_done = b"chdb_stream_done": unsafe extern "C" fn(RawInsert) -> RawResult;
    insert_cancel = b"chdb_stream_cancel_insert": unsafe extern "C" fn(RawInsert);
    insert_error = b"chdb_stream_insert_error": unsafe extern "C" fn(RawInsert) -> *const c_char;
    insert_destroy = b"chdb_destroy_insert_stream": unsafe extern "C" fn(RawInsert);
    buffer = b"chdb_result_buffer": unsafe extern "C" fn(RawResult) -> *const u8;
    length = b"chdb_result_length": unsafe extern "C" fn(RawResult) -> usize;
    error = b"chdb_result_error": unsafe extern "C" fn(RawResult) -> *const c_char;
    result_rows = b"chdb_result_rows_read": unsafe extern "C" fn(RawResult) -> u64;
    read_rows = b"chdb_result_storage_rows_read": unsafe extern "C" fn(RawResult) -> u64;
    read_bytes = b"chdb_result_storage_bytes_read": unsafe extern "C" fn(RawResult) -> u64;
    written_rows = b"chdb_result_rows_written": unsafe extern "C" fn(RawResult) -> u64;
    written_bytes = b"chdb_result_bytes_written": unsafe extern "C" fn(RawResult) -> u64;
}

/// The loaded library. One per process, for as long as the process lives.
pub(super) struct Library {
    functions: Functions,
    version: String,
}

impl Library {
    /// Loads the library and keeps it from touching the process's signal handlers.
    ///
    /// # Errors
    /// When the file is no library for this machine, or lacks a function.
    pub fn load(path: &Path) -> Result<&'static Library, libloading::Error> {
        // SAFETY: loading runs the library's initialisers; they only set up its own globals.
        let library = unsafe { libloading::Library::new(path)? };
        let functions = Functions::find(&library)?;
        // SAFETY: called before any connection exists, as the library asks.
        unsafe { (functions.set_signal_handlers)(0) };
        // SAFETY: the function has no preconditions and returns a string constant or null.
        let version = unsafe { text((functions.version)()) }.unwrap_or_default();
        // Unloading would pull the code away from under the library's threads.
        std::mem::forget(library);
        Ok(Box::leak(Box::new(Library { functions, version })))
    }

    /// The library's own version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Opens a connection. The first one starts the engine with `arguments`; later ones must
    /// name the same folder. `None` when the library refused; it prints the reason.
    pub fn connect(&'static self, arguments: &[String]) -> Option<Connection> {
        let mut owned = Vec::with_capacity(arguments.len() + 1);
        owned.push(c"clickhouse".to_owned());
        for argument in arguments {
            owned.push(CString::new(argument.as_str()).ok()?);
        }
        let mut pointers: Vec<*mut c_char> = owned
            .iter()
            .map(|argument| argument.as_ptr().cast_mut())
            .collect();
        let count = c_int::try_from(pointers.len()).ok()?;
        // SAFETY: `pointers` holds `count` strings that end in NUL and live past the call; the
        // library copies them.
        let handle = unsafe { (self.functions.connect)(count, pointers.as_mut_ptr()) };
        NonNull::new(handle).map(|handle| Connection {
            library: self,
            handle,
        })
    }

    /// Stops the engine and its threads, for good. `false` when a connection is still open or a
    /// thread could not be stopped.
    pub fn shutdown(&self) -> bool {
        // SAFETY: callable from any thread at any time; it refuses while a connection is open.
        unsafe { (self.functions.shutdown)() == 0 }
    }
}

/// Names and values of server-side parameters.
pub(super) type Parameters = [(String, String)];

/// What a statement read and wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stats {
    pub result_rows: u64,
    pub read_rows: u64,
    pub read_bytes: u64,
    pub written_rows: u64,
    pub written_bytes: u64,
}

/// A result, or one chunk of it, in the format that was asked for.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub data: Vec<u8>,
    pub stats: Stats,
}

/// A session with the engine: settings, current database and temporary tables are its own.
pub(super) struct Connection {
    library: &'static Library,
    handle: NonNull<RawConnection>,
}

// SAFETY: the library lets any thread use a connection as long as one does at a time, which
// `&mut self` ensures.
unsafe impl Send for Connection {}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the handle came from `connect` and is closed only here.
        unsafe { (self.library.functions.close)(self.handle.as_ptr()) }
    }
}

impl Connection {
    /// Runs a statement to its end and returns all of its result.
    ///
    /// # Errors
    /// What the engine said.
    pub fn query(&mut self, sql: &[u8], format: &str, parameters: &Parameters) -> Result<Answer, Exception> {
        let result = self.start(self.library.functions.query, sql, format, parameters);
        // SAFETY: a fresh result that nobody else holds.
        unsafe { self.library.take(result) }
    }

    /// Starts a SELECT whose result is fetched chunk by chunk.
    ///
    /// # Errors
    /// What the engine said; also for statements that cannot be streamed.
    pub fn rows(&mut self, sql: &[u8], format: &str, parameters: &Parameters) -> Result<Rows<'_>, Exception> {
        let handle = self.start(self.library.functions.stream, sql, format, parameters);
        let rows = Rows {
            library: self.library,
            connection: self.raw(),
            handle,
            open: true,
            borrow: PhantomData,
        };
        // SAFETY: the handle is valid until `rows` is dropped.
        match unsafe { self.library.error_of(handle) } {
            Some(exception) => {
                let mut failed = rows;
                failed.open = false;
                Err(exception)
            }
            None => Ok(rows),
        }
    }

    /// Starts an INSERT, given without its FORMAT clause, whose data are appended piece by piece.
    ///
    /// # Errors
    /// What the engine said.
    pub fn insert(
        &mut self,
        head: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<InsertStream<'_>, Exception> {
        let handle = self.start(self.library.functions.insert, head, format, parameters);
        let stream = InsertStream {
            library: self.library,
            handle,
            borrow: PhantomData,
        };
        match stream.error() {
            Some(exception) => Err(exception),
            None => Ok(stream),
        }
    }

    fn raw(&self) -> RawConnection {
        // SAFETY: the handle points at the connection's pointer until it is closed.
        unsafe { *self.handle.as_ptr() }
    }

    fn start(
        &mut self,
        function: StartStatement,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> *mut c_void {
        let names: Vec<*const u8> = parameters.iter().map(|(name, _)| name.as_ptr()).collect();
        let name_lengths: Vec<usize> = parameters.iter().map(|(name, _)| name.len()).collect();
        let values: Vec<*const u8> = parameters.iter().map(|(_, value)| value.as_ptr()).collect();
        let value_lengths: Vec<usize> = parameters.iter().map(|(_, value)| value.len()).collect();
        // SAFETY: every pointer comes with the length of what it points at and lives past the
        // call; the library copies what it keeps.
        unsafe {
            function(
                self.raw(),
                sql.as_ptr(),
                sql.len(),
                format.as_ptr(),
                format.len(),
                names.as_ptr(),
                name_lengths.as_ptr(),
                values.as_ptr(),
                value_lengths.as_ptr(),
                parameters.len(),
            )
        }
    }
}

impl Library {
    /// Copies a result out and gives it back.
    ///
    /// # Safety
    /// `result` must be the library's, or null, and must not be used again.
    unsafe fn take(&self, result: RawResult) -> Result<Answer, Exception> {
        if result.is_null() {
            return Err(Exception::from_engine(""));
        }
        let f = &self.functions;
        // SAFETY: `result` is valid until `destroy`, which is called once, last; the buffer is
        // `length` bytes long and belongs to the result.
        unsafe {
            let answer = match self.error_of(result) {
                Some(exception) => Err(exception),
                None => {
                    let (buffer, length) = ((f.buffer)(result), (f.length)(result));
                    let data = if buffer.is_null() {
                        &[]
                    } else {
                        std::slice::from_raw_parts(buffer, length)
                    };
                    let stats = Stats {
                        result_rows: (f.result_rows)(result),
                        read_rows: (f.read_rows)(result),
                        read_bytes: (f.read_bytes)(result),
                        written_rows: (f.written_rows)(result),
                        written_bytes: (f.written_bytes)(result),
                    };
                    Ok(Answer {
                        data: data.to_vec(),
                        stats,
                    })
                }
            };
            (f.destroy)(result);
            answer
        }
    }

    /// # Safety
    /// `result` must be a live result of the library, or null.
    unsafe fn error_of(&self, result: RawResult) -> Option<Exception> {
        if result.is_null() {
            return Some(Exception::from_engine(""));
        }
        // SAFETY: as required of the caller.
        let message = unsafe { text((self.functions.error)(result)) };
        message.map(|message| Exception::from_engine(&message))
    }
}

/// A result that is fetched chunk by chunk. Dropping it before its end cancels the statement.
pub(super) struct Rows<'a> {
    library: &'static Library,
    connection: RawConnection,
    handle: RawResult,
    open: bool,
    borrow: PhantomData<&'a mut Connection>,
}

impl Rows<'_> {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// What the engine said; there are no chunks after that.
    pub fn next(&mut self) -> Result<Option<Answer>, Exception> {
        if !self.open {
            return Ok(None);
        }
        // SAFETY: both handles are valid while `self` lives, and the result is a fresh one.
        let answer = unsafe {
            self.library
                .take((self.library.functions.fetch)(self.connection, self.handle))
        };
        self.open = matches!(&answer, Ok(answer) if !answer.data.is_empty());
        answer.map(|answer| Some(answer).filter(|answer| !answer.data.is_empty()))
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if self.handle.is_null() {
            return;
        }
        // SAFETY: the handle is valid, given back only here, and its connection still borrowed.
        unsafe {
            if self.open {
                (self.library.functions.cancel)(self.connection, self.handle);
            }
            (self.library.functions.destroy)(self.handle);
        }
    }
}

/// An INSERT under way. Dropping it before [`finish`](InsertStream::finish) cancels it; nothing
/// that was appended is kept then, save blocks that the engine had already closed by their size.
pub(super) struct InsertStream<'a> {
    library: &'static Library,
    handle: RawInsert,
    borrow: PhantomData<&'a mut Connection>,
}

impl InsertStream<'_> {
    /// Hands over more data; blocks while the engine is behind. `false` when the insert has
    /// already failed: [`finish`](InsertStream::finish) tells how.
    pub fn append(&mut self, data: &[u8]) -> bool {
        // SAFETY: the handle is valid while `self` lives; the library copies the data.
        unsafe { (self.library.functions.insert_append)(self.handle, data.as_ptr().cast(), data.len()) == 0 }
    }

    /// Ends the data and waits until the rows are stored.
    ///
    /// # Errors
    /// What the engine said; the rows are then not stored.
    pub fn finish(self) -> Result<Stats, Exception> {
        // SAFETY: the handle is valid; the result is a fresh one.
        let answer = unsafe {
            self.library
                .take((self.library.functions.insert_done)(self.handle))
        };
        answer.map(|answer| answer.stats)
    }

    /// Gives the insert up.
    pub fn cancel(self) {
        // SAFETY: the handle is valid, and is given back by `drop`.
        unsafe { (self.library.functions.insert_cancel)(self.handle) }
    }

    fn error(&self) -> Option<Exception> {
        if self.handle.is_null() {
            return Some(Exception::from_engine(""));
        }
        // SAFETY: the handle is valid while `self` lives.
        let message = unsafe { text((self.library.functions.insert_error)(self.handle)) };
        message.map(|message| Exception::from_engine(&message))
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is valid and given back only here; an insert that was not
            // finished is cancelled by it.
            unsafe { (self.library.functions.insert_destroy)(self.handle) }
        }
    }
}

/// # Safety
/// `text` must be null or a string that ends in NUL.
unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as required of the caller.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
