//! What an open tunnel costs: small messages there and back, and bulk each way, over loopback through `runtime::tunnel::forward`.
//! `direct` is the same without a tunnel: what the sockets and this program take of each figure. Compare runs, not absolute times.
//! Not here: setting a tunnel up.
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up stops; criterion makes undocumented items")]

#[path = "shared/client_hello.rs"]
mod client_hello;
#[path = "shared/memory.rs"]
mod memory;
#[path = "shared/policy.rs"]
mod policy;
#[path = "shared/server_hello.rs"]
mod server_hello;
#[path = "shared/sockets.rs"]
mod sockets;

use std::sync::Arc;
use std::time::Duration;

use client_hello::client_hello;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join;
use jiff::Timestamp;
use memory::Memory;
use policy::policy;
use sallyport::decision_log::{End, Kind, Log, Permit, Record};
use sallyport::name::Target;
use sallyport::policy::{Allowed, Answer, Denial, Outcome, OwnAddresses, Policy, PolicyFile, Setting, Standing};
use sallyport::runtime::hello;
use sallyport::runtime::lane::Lane;
use sallyport::runtime::metrics::Metrics;
use sallyport::runtime::quota::Places;
use sallyport::runtime::stream::ClientStream;
use sallyport::runtime::tunnel::{self, Link, Meters, OpenTunnel, Opening};
use sallyport::tls::ClientHello;
use sallyport::yaml::Faults;
use server_hello::server_hello;
use sockets::pair;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;
use uuid::Uuid;

/// The name in the policy that the tunnel leads to, and its address.
const NAME: &str = "h7.c0.customer.example";
const UPSTREAM: &str = "127.0.0.1";

/// A small request with its TLS record.
const MESSAGE: [u8; 120] = [23; 120];

/// Bytes of bulk for one figure, in pieces of as many as a TLS library writes at most at once, four records.
const BULK: usize = 4 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

/// The two far ends of a connection.
struct Ends {
    client: TcpStream,
    origin: TcpStream,
}

/// A tunnel that is open and has judged both hellos.
async fn through_a_tunnel() -> Ends {
    let ((mut client, near), (upstream, mut origin)) = (pair().await, pair().await);
    let hello = client_hello(NAME);
    let (soon, lane) = (Instant::now() + Duration::from_secs(5), Lane::default());
    let heard = hello::read((&near).into(), hello.clone().into(), &lane, soon).await.expect("a hello");
    let standing =
        Standing::new(allowed(&heard.hello).expect("an allowed tunnel"), UPSTREAM.parse().expect("an address"));
    let opening = Opening { heard, patience: Duration::from_secs(5) };
    spawn_local(async move {
        let open = OpenTunnel::new(standing, meters(), Places::default());
        tunnel::forward(permit(), &Link { client: ClientStream::Tcp(near), upstream }, Box::new(opening), &open, &lane)
            .await
    });
    let mut first = vec![0; hello.len()];
    origin.read_exact(&mut first).await.expect("the hello, passed on");
    let answer = server_hello(&hello);
    origin.write_all(&answer).await.expect("a hello is taken");
    let mut first = vec![0; answer.len()];
    client.read_exact(&mut first).await.expect("the answer, passed on");
    Ends { client, origin }
}

async fn direct() -> Ends {
    let (client, origin) = pair().await;
    Ends { client, origin }
}

/// What the policy says to the hello.
fn allowed(hello: &ClientHello) -> Result<Allowed, Denial> {
    let name = "policy.yaml".to_owned();
    let files = [PolicyFile {
        path: name.clone(),
        shown: name,
        text: policy(100, "10.20.0.0/16", ", addresses: [127.0.0.1/32]"),
    }];
    let policy = Policy::load(&files, &Setting::default(), &mut Faults::new()).expect("a policy without faults");
    let target: Target = format!("{NAME}:443").parse().expect("a target");
    let identified = Arc::new(policy).identify(&"10.20.3.4".parse::<std::net::IpAddr>().expect("an address").into())?;
    let answer = [UPSTREAM.parse().expect("an address")];
    let answer = Answer { addresses: &answer, cnames: &[] };
    identified.request(&target, Timestamp::now())?.addresses(&answer, &OwnAddresses::default())?.hello(hello)
}

/// A permit, as they are made: for a record that is in a log.
fn permit() -> Permit {
    let mut record = Record::new(Kind::Decision, Timestamp::now(), Uuid::now_v7(), "edge-1".into());
    record.outcome = Some(Outcome::Allow);
    let mut log = Log::resume(End::default(), u64::MAX);
    let permits = log.commit(vec![record.line()], &mut Memory::default()).expect("memory that does not fail");
    permits.into_iter().next().expect("a permit")
}

fn meters() -> Meters {
    let metrics = Metrics::new().expect("metrics");
    metrics.meters("c0")
}

fn relays(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = LocalSet::new();
    for (what, ends) in
        [("tunnel", local.block_on(&runtime, through_a_tunnel())), ("direct", local.block_on(&runtime, direct()))]
    {
        measure(c, what, ends, (&runtime, &local));
    }
}

fn measure(c: &mut Criterion, what: &str, ends: Ends, (runtime, local): (&Runtime, &LocalSet)) {
    let Ends { mut client, mut origin } = ends;
    let mut group = c.benchmark_group(what);
    group.throughput(Throughput::Elements(1));
    group.bench_function("120 bytes there and back", |b| {
        b.iter(|| {
            local.block_on(runtime, async {
                pass(&mut client, &mut origin, &MESSAGE).await;
                pass(&mut origin, &mut client, &MESSAGE).await;
            });
        });
    });
    group.throughput(Throughput::Bytes(BULK as u64));
    group.bench_function("bulk, client to server", |b| {
        b.iter(|| local.block_on(runtime, bulk(&mut client, &mut origin)))
    });
    group.bench_function("bulk, server to client", |b| {
        b.iter(|| local.block_on(runtime, bulk(&mut origin, &mut client)))
    });
    group.finish();
}

async fn pass(from: &mut TcpStream, to: &mut TcpStream, message: &[u8]) {
    let mut bytes = [0; MESSAGE.len()];
    from.write_all(message).await.expect("a message is taken");
    to.read_exact(&mut bytes).await.expect("a message");
}

async fn bulk(from: &mut TcpStream, to: &mut TcpStream) {
    let sends = async {
        for _ in 0..BULK / PIECE {
            from.write_all(&[7; PIECE]).await.expect("bytes are taken");
        }
    };
    let receives = async {
        let (mut bytes, mut left) = (vec![0; PIECE], BULK);
        while left > 0 {
            let count = to.read(&mut bytes).await.expect("bytes");
            assert!(count > 0, "the tunnel has ended");
            left -= count;
        }
    };
    join(sends, receives).await;
}

criterion_group!(benches, relays);
criterion_main!(benches);
