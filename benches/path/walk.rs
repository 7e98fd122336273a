//! The steps from head to records one by one, each by the functions that `runtime::session` calls, in its order.
//! Not here: metrics, timers and the relay, which only the whole session has.

use std::future::poll_fn;
use std::time::Duration;

use sallyport::decision_log::{End, Entry, Log};
use sallyport::policy::{Answer, Denial, Ending, Routed, Standing};
use sallyport::runtime::dial::{self, Dialled};
use sallyport::runtime::facts::{Came, Facts, Peer};
use sallyport::runtime::quota::Places;
use sallyport::runtime::shared::Shared;
use sallyport::runtime::stream::ClientStream;
use sallyport::runtime::tunnel::OpenTunnel;
use sallyport::runtime::{clock, head, hello};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::memory::Memory;
use crate::setting::{Connected, Setting};
use crate::step::Step;

/// The log, in memory.
pub struct Records {
    log: Log,
    store: Memory,
}

impl Default for Records {
    fn default() -> Self {
        Self { log: Log::resume(End::default(), u64::MAX), store: Memory::default() }
    }
}

impl Records {
    fn commit(&mut self, entry: Entry) {
        let permits = Step::Commit.run(|| self.log.commit(vec![entry], &mut self.store));
        drop(permits.expect("memory that does not fail"));
    }
}

/// One request, allowed, and its end.
pub async fn request(setting: &Setting, records: &mut Records) {
    let (worker, shared) = (&*setting.worker, setting.worker.shared());
    let Connected { mut client, accepted, peer } = setting.connect().await;
    client.write_all(&setting.head).await.expect("a head");
    accepted.readable().await.expect("a head");
    let deadline = Instant::now() + shared.limits().head_timeout;
    let reading =
        Step::Head.poll(head::read(ClientStream::Tcp(accepted), &worker.lane, deadline, worker.stopped())).await;
    let head = reading.head.expect("a head");
    let (now, took) = (clock::now(), Duration::from_micros(50));

    let judged = Step::Policy.run(|| {
        let in_force = shared.in_force();
        let identified = in_force.policy.identify(&peer.ip().into())?;
        let target = head.request().target()?;
        let admitted = identified.request(&target, now)?;
        Ok::<_, Denial>((in_force, identified, admitted))
    });
    let (in_force, identified, admitted) = judged.expect("an allowed request");
    let (found, result) = worker.names.lookup(&admitted).await;
    let found = found.expect("an address");
    let answer = Answer { addresses: &found.addresses, cnames: &found.aliases };
    let routed = Step::Policy.run(|| admitted.addresses(&answer, &shared.own_addresses())).expect("allowed addresses");
    let (dialled, _origin) = dialled(setting, &routed).await;
    let connected = Step::Policy.run(|| routed.connected(dialled.local, dialled.upstream, &shared.own_addresses()));
    connected.expect("an allowed connection");

    client.write_all(&setting.hello).await.expect("a hello");
    let end = reading.stream.end();
    poll_fn(|cx| end.poll_more(cx)).await.expect("a hello");
    let heard = Step::Hello.poll(hello::read(end, reading.unread, &worker.lane, deadline)).await.expect("a hello");
    let allowed = Step::Hello.run(|| routed.hello(&heard.hello)).expect("an allowed hello");

    let (mut facts, decision) = Step::Record.run(|| {
        let mut facts = Facts::begin(shared, &setting.entrance.name, Came::new(Peer::Address(peer)));
        facts.judged_by(&in_force);
        facts.read(&head);
        facts.identified(&identified);
        facts.admitted(&admitted);
        facts.resolved(&found, result, took);
        facts.dialled(&dialled, None, took);
        facts.heard(&heard.hello, took);
        let decision = facts.allow(&allowed);
        (facts, decision)
    });
    records.commit(decision);
    let tunnel = open(shared, Standing::new(allowed, dialled.upstream));
    let close = Step::Record.run(move || facts.close(Ending::ClientClosed, &tunnel));
    records.commit(close);
}

/// A connection to the customer.
async fn dialled(setting: &Setting, routed: &Routed) -> (Dialled, TcpStream) {
    let deadline = Instant::now() + setting.worker.shared().limits().dial_timeout;
    let dialled = dial::dial(routed.addresses(), routed.target().port(), None, deadline).await.expect("a connection");
    let (origin, _) = setting.origin.accept().await.expect("a connection");
    (dialled, origin)
}

fn open(shared: &Shared, standing: Standing) -> OpenTunnel {
    let meters = shared.in_force().meters(shared.metrics(), standing.allowed().rule());
    OpenTunnel::new(standing, meters, Places::default())
}
