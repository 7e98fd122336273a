//! Who a client on a TLS listener is: handshakes, client certificates and their revocation, credentials.
//! Not here: which source that makes it (`policy`), what a listener is set to otherwise (`entrance`).
//! Source: the contract's "Which source"; RFC 8446, RFC 5280; attacks F3 to F5, G5.

mod authorities;
mod authority_fault;
mod credentials;
mod fault;
mod handshake;
mod identity;
mod listener_tls;
mod presented;
mod revocation;
mod self_test;
#[cfg(test)]
pub(in crate::runtime) mod testing;
mod throttle;
mod under_way;
mod verifier;

pub use credentials::{Checker, Credentials, ShownCredential};
pub use fault::CertificateFault;
pub use handshake::{HandshakeFailure, Shaken, handshake};
pub use listener_tls::{ClientCertificate, ListenerTls};
pub(in crate::runtime) use self_test::self_test;
pub use under_way::UnderWay;
