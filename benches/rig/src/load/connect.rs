//! Short tunnels: as fast as the workers go (closed loop), or so many a second (open loop). In the open loop a latency counts from
//! when its tunnel was due, not from when a worker got round to it. Not here: what a tunnel does (`conn`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::conn::Conn;
use super::{Common, SETTLE, Shared, UNIT_DEADLINE, sample};
use crate::figure::{Figure, Sample, count};
use crate::latency::Tally;
use crate::procfs::Meter;

#[derive(Args)]
pub struct ConnectArgs {
    #[command(flatten)]
    common: Common,
    /// Tunnels at the same time
    #[arg(long, default_value_t = 64)]
    concurrency: u32,
    #[arg(long, default_value_t = 2.5)]
    seconds: f64,
    /// Tunnels a second, open loop; without it, as fast as they go
    #[arg(long)]
    rate: Option<f64>,
}

/// When tunnels are due.
struct Pace {
    next: AtomicU32,
    began: Instant,
    end: Instant,
    rate: Option<f64>,
}

impl Pace {
    /// The number of the next tunnel and when its latency begins. `None`: the time is over.
    async fn next(&self) -> Option<(u32, Instant)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let due = self.rate.and_then(|rate| Duration::try_from_secs_f64(f64::from(number) / rate).ok());
        let due = due.map_or(now, |after| self.began + after);
        if due.max(now) >= self.end {
            return None;
        }
        if due <= now {
            return Some((number, due));
        }
        // A worker that waits for its turn counts from when the timer (of 1 ms) woke it: the rig must not spin, it would starve the
        // origin, which shares its core.
        sleep_until(due).await;
        Some((number, Instant::now()))
    }
}

pub async fn run(args: &ConnectArgs) -> Result<Sample> {
    let shared = args.common.shared()?;
    let meter = Meter::start(args.common.pid);
    let began = Instant::now();
    let end = began + Duration::try_from_secs_f64(args.seconds)?;
    let pace = Arc::new(Pace { next: AtomicU32::new(0), began, end, rate: args.rate });
    let mut workers = JoinSet::new();
    for _ in 0..args.concurrency {
        workers.spawn(work(Arc::clone(&shared), Arc::clone(&pace)));
    }
    let mut sum = Tally::default();
    while let Some(tally) = workers.join_next().await {
        sum.add(tally?);
    }
    let took = began.elapsed().as_secs_f64();
    sleep(SETTLE).await;
    let (cpu, done) = (meter.seconds(), sum.whole.count());
    let mut sample = sample(sum.failures);
    sample.put_per(Figure::CpuPerTunnel, cpu * 1e6, done);
    if let Some(balance) = meter.balance() {
        sample.put(Figure::WorkerBalance, balance);
    }
    sample.put(Figure::TunnelsPerSecond, count(done) / took);
    sum.tunnel.put(&mut sample, Figure::TunnelP50, Figure::TunnelP99);
    sum.whole.put(&mut sample, Figure::WholeP50, Figure::WholeP99);
    Ok(sample)
}

async fn work(shared: Arc<Shared>, pace: Arc<Pace>) -> Tally {
    let mut tally = Tally::default();
    while let Some((number, from)) = pace.next().await {
        let number = usize::try_from(number).unwrap_or_default();
        match timeout(UNIT_DEADLINE, Conn::open(&shared, number)).await {
            Ok(Ok((conn, stood_after))) => {
                tally.tunnel.record(stood_after);
                tally.whole.record(from.elapsed());
                conn.close().await;
            }
            Ok(Err(error)) => tally.failures.add(&error.to_string()),
            Err(_) => tally.failures.add("timeout"),
        }
    }
    tally
}
