//! Drives the exchange of hellos between the two ends: nothing passes that the exchange has not handed out.
//! Not here: which bytes may pass (`tls::Exchange`), what a server may choose (`policy::hello`). Source: RFC 8446 section 4.1.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use crate::policy::{Denial, Ending, InTunnel, Reason};
use crate::runtime::lane::Lane;
use crate::runtime::quota::Spending;
use crate::runtime::tunnel::open::OpenTunnel;
use crate::runtime::tunnel::relay::write_all;
use crate::runtime::tunnel::{Link, Opening};
use crate::tls::{ClientStep, Exchange, ExchangeError, ServerHello, ServerStep};

/// Bytes taken from a socket in one call: a server's whole first flight is 2 to 5 KiB.
const READ_SIZE: usize = 8 * 1024;

/// Sends the judged hello on and passes what the exchange hands out, until the ServerHello is judged. An error is how the tunnel ends.
pub(super) async fn judge(link: &Link, opening: Box<Opening>, tunnel: &OpenTunnel, lane: &Lane) -> Result<(), Ending> {
    let deadline = Instant::now() + opening.patience;
    let heard = opening.heard;
    let mut flight = FirstFlight { exchange: Exchange::new(&heard.hello), link, tunnel, lane };
    let late = || Err(refused(&tunnel.standing().allowed().deny(Reason::HelloTimeout)));
    // A tunnel that is told to stop sends nothing more, not even its hello.
    tokio::select! {
        biased;
        ending = tunnel.stopped() => Err(ending),
        result = timeout_at(deadline, flight.run(&heard.bytes, &heard.trailing)) => result.unwrap_or_else(|_| late()),
    }
}

/// What one of the two has said; `None`: it has ended.
enum Heard {
    Server(Option<Result<ServerStep, ExchangeError>>),
    Client(Option<Result<ClientStep, ExchangeError>>),
}

struct FirstFlight<'a> {
    exchange: Exchange,
    link: &'a Link,
    tunnel: &'a OpenTunnel,
    lane: &'a Lane,
}

impl FirstFlight<'_> {
    async fn run(&mut self, hello: &[u8], trailing: &[u8]) -> Result<(), Ending> {
        self.to_server(hello).await?;
        if !trailing.is_empty() {
            let step = self.exchange.client(trailing);
            self.client_sent(step).await?;
        }
        loop {
            match poll_fn(|cx| self.poll_heard(cx)).await.map_err(|_| Ending::Reset)? {
                Heard::Server(Some(step)) => {
                    if self.server_sent(step).await? {
                        return Ok(());
                    }
                }
                Heard::Client(Some(step)) => self.client_sent(step).await?,
                Heard::Server(None) => return Err(Ending::ServerClosed),
                Heard::Client(None) => return Err(Ending::ClientClosed),
            }
        }
    }

    /// What the next one to speak has said, the server first.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Heard>> {
        let Self { exchange, link, lane, .. } = self;
        let server = lane.poll_read(cx, (&link.upstream).into(), READ_SIZE, |_, bytes| {
            (!bytes.is_empty()).then(|| exchange.server(bytes))
        })?;
        if let Poll::Ready(step) = server {
            return Poll::Ready(Ok(Heard::Server(step)));
        }
        lane.poll_read(cx, link.client.end(), READ_SIZE, |_, bytes| (!bytes.is_empty()).then(|| exchange.client(bytes)))
            .map_ok(Heard::Client)
    }

    async fn client_sent(&self, step: Result<ClientStep, ExchangeError>) -> Result<(), Ending> {
        let step = step.map_err(|error| refused(&self.tunnel.standing().allowed().exchange_error(&error)))?;
        let passed = match step {
            ClientStep::Forward(bytes) => bytes,
            ClientStep::Hello { hello, held } => {
                self.tunnel.standing().allowed().second_hello(&hello).map_err(|denial| refused(&denial))?;
                held.release()
            }
        };
        self.to_server(&passed).await
    }

    async fn server_sent(&self, step: Result<ServerStep, ExchangeError>) -> Result<bool, Ending> {
        let step = step.map_err(|error| refused(&self.tunnel.standing().allowed().exchange_error(&error)))?;
        match step {
            ServerStep::Hold => Ok(false),
            ServerStep::Retry { hello, held } => {
                self.judge(&hello)?;
                self.to_client(&held.release()).await?;
                Ok(false)
            }
            ServerStep::Hello { hello, to_client, to_server } => {
                self.judge(&hello)?;
                self.to_client(&to_client.release()).await?;
                self.to_server(&to_server.release()).await?;
                Ok(true)
            }
            ServerStep::Alert(bytes) => {
                self.to_client(&bytes).await?;
                Err(Ending::ServerClosed)
            }
        }
    }

    fn judge(&self, hello: &ServerHello) -> Result<(), Ending> {
        if !hello.retry {
            self.tunnel.standing().choose(hello);
        }
        self.tunnel.standing().allowed().server(hello).map_err(|denial| refused(&denial))
    }

    /// Counts against the budgets of the day like all that follows.
    async fn to_server(&self, bytes: &[u8]) -> Result<(), Ending> {
        loop {
            let spending = self.tunnel.places().spend(bytes.len());
            match spending {
                Spending::Done => break,
                Spending::Short => return Err(Ending::ByteBudgetSpent),
                Spending::Busy => yield_now().await,
            }
        }
        write_all((&self.link.upstream).into(), bytes, self.tunnel.bytes_out()).await.map_err(|_| Ending::Reset)
    }

    async fn to_client(&self, bytes: &[u8]) -> Result<(), Ending> {
        write_all(self.link.client.end(), bytes, self.tunnel.bytes_in()).await.map_err(|_| Ending::Reset)
    }
}

/// A refusal inside a tunnel, as its end.
fn refused(denial: &Denial) -> Ending {
    InTunnel::new(denial.reason()).map_or(Ending::Reset, Ending::Refused)
}
