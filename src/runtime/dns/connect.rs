//! How a connection to a name server is made: over UDP, TCP, or TLS whose certificate this host trusts for the server's name.
//! Not here: which server (`servers`). A server that is given as encrypted is never asked in clear text.
//! Source: RFC 1035 section 4.2, RFC 5452 section 9 (a port of its own for each question), RFC 8310 section 8 (strict privacy).

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use hickory_resolver::config::{ConnectionConfig, ProtocolConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::DnsExchange;
use hickory_resolver::{ConnectionProvider, PoolContext, TlsConfig};
use rustls::{ClientConfig, RootCertStore};

use super::servers::ResolverError;

/// How often one question goes out over UDP to one server, each time from another port: a packet that is lost costs 333 ms.
const MAX_SENDS: u8 = 2;

/// Makes connections to one server on this worker's runtime, and remembers why the last one failed: the pool only says that there is none.
#[derive(Clone, Default)]
pub struct Connector {
    runtime: TokioRuntimeProvider,
    failure: Arc<Mutex<Option<String>>>,
}

impl Connector {
    /// Why the last connection failed, told once.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: &NetError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

impl ConnectionProvider for Connector {
    type Conn = DnsExchange<TokioRuntimeProvider>;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Self::Conn, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        if !matches!(config.protocol, ProtocolConfig::Udp) {
            let (connecting, connector) = (self.runtime.new_connection(ip, config, context)?, self.clone());
            return Ok(Box::pin(async move { connecting.await.inspect_err(|error| connector.note(error)) }));
        }
        let udp = UdpClientStream::builder(SocketAddr::new(ip, config.port), self.runtime.clone())
            .with_timeout(Some(context.options.timeout))
            .with_max_retries(MAX_SENDS);
        Ok(Box::pin(async { Ok(udp.exchange()) }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.runtime
    }
}

/// What the host trusts, if a server is asked over TLS; else nothing.
///
/// # Errors
/// The host trusts nothing.
pub fn tls(is_used: bool) -> Result<TlsConfig, ResolverError> {
    let mut roots = RootCertStore::empty();
    if is_used {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map_or("there are none".to_owned(), ToString::to_string);
            return Err(ResolverError::NoRoots(why));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(NetError::from)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConfig { config })
}
