//! Refused CONNECTs, a new connection each. 403 is the wanted answer; any other status is a failure.
//! Not here: which names are refused; the proxy's policy knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Common, SETTLE, Shared, UNIT_DEADLINE, sample};
use crate::figure::{Figure, Sample, count};
use crate::latency::Tally;
use crate::net;
use crate::procfs::Meter;

/// Forbidden (RFC 9110, 15.5.4): what every subject says to a name that is not listed.
const REFUSED: u16 = 403;

#[derive(Args)]
pub struct DenyArgs {
    #[command(flatten)]
    common: Common,
    /// Connections at the same time
    #[arg(long, default_value_t = 64)]
    concurrency: u32,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

pub async fn run(args: &DenyArgs) -> Result<Sample> {
    let shared = args.common.shared()?;
    let meter = Meter::start(args.common.pid);
    let began = Instant::now();
    let end = began + Duration::try_from_secs_f64(args.seconds)?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..args.concurrency {
        workers.spawn(work(Arc::clone(&shared), Arc::clone(&next), end));
    }
    let mut sum = Tally::default();
    while let Some(tally) = workers.join_next().await {
        sum.add(tally?);
    }
    let took = began.elapsed().as_secs_f64();
    sleep(SETTLE).await;
    let (cpu, done) = (meter.seconds(), sum.whole.count());
    let mut sample = sample(sum.failures);
    sample.put_per(Figure::CpuPerDenial, cpu * 1e6, done);
    sample.put(Figure::DenialsPerSecond, count(done) / took);
    sum.whole.put(&mut sample, Figure::RequestP50, Figure::RequestP99);
    Ok(sample)
}

async fn work(shared: Arc<Shared>, next: Arc<AtomicUsize>, end: Instant) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < end {
        let from = Instant::now();
        let number = next.fetch_add(1, Ordering::Relaxed);
        let ask = async {
            let (target, _) = shared.target(number)?;
            net::ask(shared.proxy, shared.sources.next(), target).await
        };
        match timeout(UNIT_DEADLINE, ask).await {
            Ok(Ok(reply)) => match reply.status {
                REFUSED => tally.whole.record(from.elapsed()),
                200 => tally.failures.add("tunnel-was-opened"),
                status => tally.failures.add(&format!("refused-with-status-{status}")),
            },
            Ok(Err(error)) => tally.failures.add(&error.to_string()),
            Err(_) => tally.failures.add("timeout"),
        }
    }
    tally
}
