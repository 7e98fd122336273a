//! TLS as far as it is in the clear: ClientHello, ServerHello, and the way from the one to the other. Bytes in, progress out.
//! Not here: sockets, deadlines, whether a hello is allowed (`policy`), and anything encrypted.
//! Source: RFC 8446 (TLS 1.3), 5246 (TLS 1.2), 6066 (server_name), 7301 (ALPN), 8701 (GREASE), 9849 (ECH).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod alert;
mod cipher;
mod cipher_table;
mod client_hello;
mod exchange;
mod extensions;
mod gate;
mod handshake;
mod hello_reader;
mod reader;
mod record;
mod server_hello;
mod version;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod testing;

pub use alert::{AlertDescription, alert};
pub use cipher::CipherSuite;
pub use client_hello::{ClientHello, SecondHelloDiffers, ServerName};
pub use exchange::{ClientStep, Exchange, ExchangeError, Held, ServerStep, fuzz_exchange};
pub use handshake::MAX_HELLO;
pub use hello_reader::{HelloError, HelloReader, Progress, fuzz_client_hello};
pub use server_hello::{ServerHello, ServerHelloError, ServerHelloReader, ServerProgress, fuzz_server_hello};
pub use version::ProtocolVersion;
