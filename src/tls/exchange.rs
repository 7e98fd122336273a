//! From the judged ClientHello to the judged ServerHello: which bytes may pass in which direction, and when.
//! Not here: the judging (`policy`), sockets and deadlines. What the caller may send is handed out here, and nothing else.
//! Source: RFC 8446 section 2.1, 4.1.2 to 4.1.4 and D.4.

use super::client_hello::ClientHello;
use super::gate::Gate;
use super::handshake::MAX_HELLO;
use super::hello_reader::HelloError;
use super::reader::Reader;
use super::server_hello::{ServerHello, ServerHelloError, ServerHelloReader, ServerProgress};
use super::version::ProtocolVersion;

/// Bytes that may go on only once the hello that came with them is judged. Whoever refuses it drops them.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Held(Vec<u8>);

impl Held {
    /// The bytes, for a caller that has judged the hello and lets it pass.
    pub fn release(self) -> Vec<u8> {
        self.0
    }
}

/// What a client's bytes came to.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum ClientStep {
    /// These may go to the server now; perhaps none.
    Forward(Vec<u8>),
    /// The second hello, which a HelloRetryRequest had asked for. Judge it, and compare it with the first
    /// (`ClientHello::check_second`); then `held` goes to the server.
    Hello {
        /// The second hello.
        hello: ClientHello,
        /// It and what came around it.
        held: Held,
    },
}

/// What a server's bytes came to.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum ServerStep {
    /// Nothing may go to the client yet.
    Hold,
    /// A HelloRetryRequest. Judge it; then `held` goes to the client, and the exchange goes on.
    Retry {
        /// What the server wants to choose.
        hello: ServerHello,
        /// The records of the HelloRetryRequest, and nothing that came behind them.
        held: Held,
    },
    /// The ServerHello. Judge it; then the held bytes go their ways and all later ones are free. The exchange is over.
    Hello {
        /// What the server chose.
        hello: ServerHello,
        /// All that the server has sent and the client has not got.
        to_client: Held,
        /// The begin of a client's record, if it was cut there; often empty.
        to_server: Held,
    },
    /// The server refuses. These bytes, which end with its alert, go to the client; then close. The exchange is over.
    Alert(Vec<u8>),
}

/// What may not happen before the ServerHello. Nothing more may be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The client sent what may not stand there.
    #[error("client before the server's hello: {0}")]
    Client(&'static str),
    /// The client's second hello can not be judged.
    #[error("second hello: {0}")]
    SecondHello(HelloError),
    /// The server's first bytes can not be judged.
    #[error("server: {0}")]
    Server(#[from] ServerHelloError),
    /// The caller went on after the end.
    #[error("the exchange is over")]
    Over,
}

/// The exchange of hellos behind a first ClientHello that was judged and forwarded. Holds at most `MAX_HELLO` bytes and the
/// last push in each direction.
#[derive(Debug)]
pub struct Exchange {
    gate: Gate,
    server: ServerHelloReader,
    retried: bool,
    over: bool,
}

impl Exchange {
    /// Begins behind this hello. What came behind it (`HelloReader::trailing`) is the first thing for `client`.
    pub fn new(first: &ClientHello) -> Self {
        Self { gate: Gate::new(first), server: ServerHelloReader::new(), retried: false, over: false }
    }

    /// Takes the client's next bytes. Only change_cipher_spec, alerts, early data if it was offered, and after a
    /// HelloRetryRequest one second hello may come. After an error or the end: `Over`.
    pub fn client(&mut self, bytes: &[u8]) -> Result<ClientStep, ExchangeError> {
        self.unless_over()?;
        let mut passed = Vec::with_capacity(bytes.len());
        match self.gate.push(bytes, &mut passed) {
            Ok(None) => Ok(ClientStep::Forward(passed)),
            Ok(Some(hello)) => Ok(ClientStep::Hello { hello, held: Held(passed) }),
            Err(error) => self.fail(error),
        }
    }

    /// Takes the server's next bytes. After an error or the end: `Over`.
    pub fn server(&mut self, bytes: &[u8]) -> Result<ServerStep, ExchangeError> {
        self.unless_over()?;
        match self.server.push(bytes) {
            Ok(ServerProgress::Incomplete) => Ok(ServerStep::Hold),
            Ok(ServerProgress::Alert) => Ok(self.alert()),
            Ok(ServerProgress::Complete(hello)) if hello.retry => self.retry(hello),
            Ok(ServerProgress::Complete(_)) if self.gate.awaits_second() => self.fail(TOO_EARLY),
            Ok(ServerProgress::Complete(hello)) => Ok(self.finish(hello)),
            Err(error) => self.fail(error.into()),
        }
    }

    fn retry(&mut self, hello: ServerHello) -> Result<ServerStep, ExchangeError> {
        if self.retried {
            return self.fail(SECOND_RETRY);
        }
        self.retried = true;
        self.gate.await_second();
        let (retry, behind) = std::mem::replace(&mut self.server, ServerHelloReader::after_retry()).into_parts();
        match self.server.push(&behind) {
            Ok(ServerProgress::Incomplete) => Ok(ServerStep::Retry { hello, held: Held(retry) }),
            Ok(ServerProgress::Alert | ServerProgress::Complete(_)) => self.fail(TOO_EARLY),
            Err(error) => self.fail(error.into()),
        }
    }

    fn alert(&mut self) -> ServerStep {
        self.over = true;
        ServerStep::Alert(std::mem::take(&mut self.server).into_parts().0)
    }

    fn finish(&mut self, hello: ServerHello) -> ServerStep {
        self.over = true;
        let (mut to_client, behind) = std::mem::take(&mut self.server).into_parts();
        to_client.extend_from_slice(&behind);
        ServerStep::Hello { hello, to_client: Held(to_client), to_server: Held(self.gate.held().to_vec()) }
    }

    fn fail<T>(&mut self, error: ExchangeError) -> Result<T, ExchangeError> {
        self.over = true;
        Err(error)
    }

    fn unless_over(&self) -> Result<(), ExchangeError> {
        if self.over { Err(ExchangeError::Over) } else { Ok(()) }
    }
}

/// Fuzz entry: the input is a script of pushes. What is handed out is a prefix of what came in from the other side, and
/// no more is held than the bound and one push.
///
/// # Panics
/// If one of these does not hold.
pub fn fuzz_exchange(data: &[u8]) {
    let mut script = Reader::new(data);
    let first = ClientHello {
        server_name: None,
        max_version: ProtocolVersion::Tls13,
        alpn: Vec::new(),
        ech: false,
        esni: false,
        early_data: script.u8().unwrap_or(0) % 2 == 1,
    };
    let mut exchange = Exchange::new(&first);
    let (mut from_client, mut to_server) = (Vec::new(), Vec::new());
    let (mut from_server, mut to_client) = (Vec::new(), Vec::new());
    while let Some(turn) = script.u8() {
        let bytes = script.take_up_to(usize::from(turn / 2).saturating_mul(8).saturating_add(1));
        let went_on = if turn % 2 == 0 {
            from_client.extend_from_slice(bytes);
            match exchange.client(bytes) {
                Ok(ClientStep::Forward(passed) | ClientStep::Hello { held: Held(passed), .. }) => {
                    to_server.extend(passed);
                    true
                }
                Err(_) => false,
            }
        } else {
            from_server.extend_from_slice(bytes);
            exchange.fuzz_server_step(bytes, &mut to_client, &mut to_server)
        };
        assert!(from_client.starts_with(&to_server), "to the server: not what the client sent");
        assert!(from_server.starts_with(&to_client), "to the client: not what the server sent");
        assert!(exchange.gate.held().len() <= MAX_HELLO, "held too much from the client");
        assert!(exchange.server.bytes().len() <= MAX_HELLO, "held too much from the server");
        if !went_on {
            assert_eq!(exchange.client(&[]), Err(ExchangeError::Over), "went on after the end");
            return;
        }
    }
}

impl Exchange {
    /// Whether the exchange goes on.
    fn fuzz_server_step(&mut self, bytes: &[u8], to_client: &mut Vec<u8>, to_server: &mut Vec<u8>) -> bool {
        match self.server(bytes) {
            Ok(ServerStep::Hold) => true,
            Ok(ServerStep::Retry { held, .. }) => {
                to_client.extend(held.release());
                true
            }
            Ok(ServerStep::Hello { to_client: held, to_server: cut, .. }) => {
                to_client.extend(held.release());
                to_server.extend(cut.release());
                false
            }
            Ok(ServerStep::Alert(passed)) => {
                to_client.extend(passed);
                false
            }
            Err(_) => false,
        }
    }
}

const SECOND_RETRY: ExchangeError = ExchangeError::Server(ServerHelloError::Malformed("a second HelloRetryRequest"));
const TOO_EARLY: ExchangeError =
    ExchangeError::Server(ServerHelloError::Malformed("an answer before the second ClientHello"));

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
