//! How a connection to a name server is made.
//! Not here: which server (`servers`). Source: RFC 1035 section 4.2, RFC 5452 section 9 (a port of its own for each question).

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use hickory_resolver::config::{ConnectionConfig, ProtocolConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::DnsExchange;
use hickory_resolver::{ConnectionProvider, PoolContext};

/// How often one question goes out over UDP to one server, each time from another port: a packet that is lost costs 333 ms.
const MAX_SENDS: u8 = 2;

/// Makes connections on this worker's runtime.
#[derive(Clone, Default)]
pub struct Connector {
    runtime: TokioRuntimeProvider,
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
            return self.runtime.new_connection(ip, config, context);
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
