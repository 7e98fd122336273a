//! What a client may send between its judged ClientHello and the ServerHello; everything else is refused.
//! Not here: the server's side, and the order of the two (`exchange`).
//! Source: RFC 8446 section 4.1.2, 4.2.10, 5.1 and D.4.

use super::client_hello::ClientHello;
use super::exchange::ExchangeError;
use super::hello_reader::{HelloReader, Progress};
use super::reader::Reader;
use super::record::{ContentType, HEADER, Header, HeaderFault};

/// Upper bound in change_cipher_spec and alert records. Middlebox compatibility sends one after each hello at most, and who
/// gives up sends `user_canceled` and `close_notify`.
const MAX_SMALL: u8 = 4;

/// Upper bound in bytes of early data before the ServerHello. Servers allow 16 KiB (OpenSSL's default) and seldom more; what came before
/// anybody has shown that it speaks TLS must not be a channel of its own.
const MAX_EARLY_DATA: usize = 64 * 1024;

/// A second ClientHello comes at most once, and only after a HelloRetryRequest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    NotAsked,
    Awaited,
    Seen,
}

#[derive(Debug)]
enum State {
    /// At a record's header, or in a record of at most two bytes: nothing of it has passed.
    Start(Vec<u8>),
    /// So many bytes of an early data record are still to come; they pass as they come.
    EarlyData(usize),
    SecondHello(HelloReader),
}

#[derive(Debug)]
pub(super) struct Gate {
    early_data: bool,
    /// Bytes of early data so far.
    early: usize,
    second: Second,
    small: u8,
    state: State,
}

impl Gate {
    pub(super) fn new(first: &ClientHello) -> Self {
        Self {
            early_data: first.early_data,
            early: 0,
            second: Second::NotAsked,
            small: 0,
            state: State::Start(Vec::new()),
        }
    }

    /// A HelloRetryRequest was handed out: one more ClientHello may come.
    pub(super) fn await_second(&mut self) {
        self.second = Second::Awaited;
    }

    /// Whether a HelloRetryRequest is still unanswered.
    pub(super) fn awaits_second(&self) -> bool {
        self.second == Second::Awaited
    }

    /// Judges the client's next bytes. What may pass is put behind `out`; with `Some`, only once that hello is judged.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<ClientHello>, ExchangeError> {
        let mut input = Reader::new(bytes);
        let mut second = None;
        while !input.is_empty() {
            match &mut self.state {
                State::Start(_) => self.start(&mut input, out)?,
                State::EarlyData(left) => {
                    let passed = input.take_up_to(*left);
                    out.extend_from_slice(passed);
                    *left = left.saturating_sub(passed.len());
                    if *left == 0 {
                        self.state = State::Start(Vec::new());
                    }
                }
                State::SecondHello(reader) => {
                    let rest = input.rest();
                    if let Progress::Complete(hello) = reader.push(rest).map_err(ExchangeError::SecondHello)? {
                        out.extend_from_slice(reader.bytes());
                        input.take(rest.len().saturating_sub(reader.trailing().len()));
                        second = Some(hello);
                        self.second = Second::Seen;
                        self.early_data = false;
                        self.state = State::Start(Vec::new());
                    } else {
                        input.take(rest.len());
                    }
                }
            }
        }
        Ok(second)
    }

    /// What came and has neither passed nor been refused.
    pub(super) fn held(&self) -> &[u8] {
        match &self.state {
            State::Start(bytes) => bytes,
            State::EarlyData(_) => &[],
            State::SecondHello(reader) => reader.bytes(),
        }
    }

    fn allowed(&self) -> &'static [ContentType] {
        use ContentType::{Alert, ApplicationData, ChangeCipherSpec, Handshake};
        match (self.early_data, self.awaits_second()) {
            (false, false) => &[ChangeCipherSpec, Alert],
            (true, false) => &[ChangeCipherSpec, Alert, ApplicationData],
            (false, true) => &[ChangeCipherSpec, Alert, Handshake],
            (true, true) => &[ChangeCipherSpec, Alert, ApplicationData, Handshake],
        }
    }

    /// Takes what the record at hand needs, and no more.
    fn start(&mut self, input: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), ExchangeError> {
        let allowed = self.allowed();
        let State::Start(bytes) = &mut self.state else { return Ok(()) };
        bytes.extend_from_slice(input.take_up_to(HEADER.saturating_sub(bytes.len())));
        let Some(header) = Header::read(bytes, allowed).map_err(header_fault)? else { return Ok(()) };
        match header.content {
            ContentType::ApplicationData => {
                self.early = self.early.saturating_add(header.length);
                if self.early > MAX_EARLY_DATA {
                    return Err(ExchangeError::Client("more early data than may come before the ServerHello"));
                }
                out.append(bytes);
                self.state = State::EarlyData(header.length);
            }
            ContentType::Handshake => {
                let mut reader = HelloReader::new();
                reader.push(bytes).map_err(ExchangeError::SecondHello)?;
                self.state = State::SecondHello(reader);
            }
            ContentType::ChangeCipherSpec | ContentType::Alert => {
                let whole = HEADER.saturating_add(header.length.min(2));
                bytes.extend_from_slice(input.take_up_to(whole.saturating_sub(bytes.len())));
                if !may_pass(header, bytes)? {
                    return Ok(());
                }
                if self.small >= MAX_SMALL {
                    return Err(SMALL_FAULT);
                }
                self.small = self.small.saturating_add(1);
                out.append(bytes);
            }
        }
        Ok(())
    }
}

/// Whether this change_cipher_spec or alert is whole; an error if it is not a right one.
fn may_pass(header: Header, record: &[u8]) -> Result<bool, ExchangeError> {
    match (header.content, header.length, record.get(HEADER..).unwrap_or_default()) {
        (ContentType::ChangeCipherSpec, 1, [1]) | (ContentType::Alert, 2, [1 | 2, _]) => Ok(true),
        (ContentType::ChangeCipherSpec, 1, []) | (ContentType::Alert, 2, [] | [1 | 2]) => Ok(false),
        _ => Err(SMALL_FAULT),
    }
}

const SMALL_FAULT: ExchangeError = ExchangeError::Client("change_cipher_spec or alert");

fn header_fault(fault: HeaderFault) -> ExchangeError {
    ExchangeError::Client(match fault {
        HeaderFault::Type => "a record that may not come before the ServerHello",
        HeaderFault::Version => "version of a record",
        HeaderFault::Length => "length of a record",
    })
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
