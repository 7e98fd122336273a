//! Small messages to and fro over tunnels that are open already. Not here: what a message is (`conn`).

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::conn::Conn;
use super::{Common, SETTLE, sample};
use crate::figure::{Figure, Sample, count};
use crate::latency::Tally;
use crate::procfs::Meter;

#[derive(Args)]
pub struct RequestsArgs {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 64)]
    tunnels: usize,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Bytes of a message and of its reply
    #[arg(long, default_value_t = 120)]
    size: usize,
}

pub async fn run(args: &RequestsArgs) -> Result<Sample> {
    let shared = args.common.shared()?;
    let mut conns = Vec::new();
    for number in 0..args.tunnels {
        conns.push(Conn::open(&shared, number).await?.0);
    }
    sleep(SETTLE).await;
    let meter = Meter::start(args.common.pid);
    let began = Instant::now();
    let end = began + Duration::try_from_secs_f64(args.seconds)?;
    let mut workers = JoinSet::new();
    for conn in conns {
        workers.spawn(work(conn, args.size, end));
    }
    let (mut sum, mut open) = (Tally::default(), Vec::new());
    while let Some(ended) = workers.join_next().await {
        let (tally, conn) = ended?;
        sum.add(tally);
        open.push(conn);
    }
    let took = began.elapsed().as_secs_f64();
    let (cpu, done) = (meter.seconds(), sum.whole.count());
    let mut sample = sample(sum.failures);
    sample.put_per(Figure::CpuPerRequest, cpu * 1e6, done);
    sample.put(Figure::RequestsPerSecond, count(done) / took);
    sum.whole.put(&mut sample, Figure::RequestP50, Figure::RequestP99);
    Ok(sample)
}

/// Gives the tunnel back, so that none is closed before all have ended.
async fn work(mut conn: Conn, size: usize, end: Instant) -> (Tally, Conn) {
    let mut tally = Tally::default();
    while Instant::now() < end {
        let from = Instant::now();
        if let Err(error) = conn.ping(size).await {
            tally.failures.add(&error.to_string());
            break;
        }
        tally.whole.record(from.elapsed());
    }
    (tally, conn)
}
