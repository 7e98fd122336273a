//! Many tunnels that have shaken hands and carried one exchange, then nothing: what each costs in memory.
//! Not here: memory of the kernel (sockets cost the same whatever proxy holds them).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::conn::Conn;
use super::{Common, SETTLE, Shared, UNIT_DEADLINE, sample};
use crate::figure::{Figure, Sample, count};
use crate::latency::Failures;
use crate::procfs::memory_kib;

#[derive(Args)]
pub struct IdleArgs {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 9500)]
    tunnels: usize,
    /// Tunnels opened at the same time
    #[arg(long, default_value_t = 16)]
    concurrency: u32,
    /// Seconds to hold them
    #[arg(long, default_value_t = 4.0)]
    hold: f64,
}

/// One tunnel in so many is tried again after the hold.
const PROBED: usize = 97;

/// A worker gives up after so many failures.
const MAX_FAILURES: u64 = 50;

/// Time for the proxy to give memory back after all tunnels are closed.
const AFTER_CLOSE: Duration = Duration::from_secs(2);

/// What the probes send.
const PROBE: usize = 120;

pub async fn run(args: &IdleArgs) -> Result<Sample> {
    let shared = args.common.shared()?;
    let at_start = memory_kib(args.common.pid);
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..args.concurrency {
        workers.spawn(open(Arc::clone(&shared), Arc::clone(&next), args.tunnels));
    }
    let (mut held, mut failures) = (Vec::new(), Failures::default());
    while let Some(ended) = workers.join_next().await {
        let (conns, failed) = ended?;
        held.extend(conns);
        for (what, times) in failed.0 {
            (0..times).for_each(|_| failures.add(&what));
        }
    }
    sleep(SETTLE).await;
    sleep(Duration::try_from_secs_f64(args.hold)?).await;
    let with_all = memory_kib(args.common.pid);
    let tunnels = u64::try_from(held.len())?;
    for conn in held.iter_mut().step_by(PROBED) {
        match timeout(UNIT_DEADLINE, conn.ping(PROBE)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failures.add(&format!("dead-after-hold: {error}")),
            Err(_) => failures.add("dead-after-hold: timeout"),
        }
    }
    drop(held);
    sleep(AFTER_CLOSE).await;
    let mut sample = sample(failures);
    sample.put_per(Figure::KibPerTunnel, with_all - at_start, tunnels);
    sample.put(Figure::MibAtStart, at_start / 1024.0);
    sample.put(Figure::MibHeld, with_all / 1024.0);
    sample.put(Figure::MibAfterClose, memory_kib(args.common.pid) / 1024.0);
    sample.put(Figure::Held, count(tunnels));
    Ok(sample)
}

async fn open(shared: Arc<Shared>, next: Arc<AtomicUsize>, want: usize) -> (Vec<Conn>, Failures) {
    let (mut held, mut failures) = (Vec::new(), Failures::default());
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= want || failures.total() > MAX_FAILURES {
            return (held, failures);
        }
        match timeout(UNIT_DEADLINE, Conn::open(&shared, number)).await {
            Ok(Ok((conn, _))) => held.push(conn),
            Ok(Err(error)) => failures.add(&error.to_string()),
            Err(_) => failures.add("timeout"),
        }
    }
}
