//! Bytes through a few tunnels, down or up. Not here: how bytes are made and dropped (`wire`).

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::conn::Conn;
use super::{Common, SETTLE, sample};
use crate::figure::{Figure, Sample, count};
use crate::latency::Failures;
use crate::procfs::Meter;
use crate::wire;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Direction {
    Down,
    Up,
}

#[derive(Args)]
pub struct BulkArgs {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 4)]
    tunnels: usize,
    /// MiB a tunnel
    #[arg(long, default_value_t = 384)]
    mib: u64,
    #[arg(long, value_enum, default_value_t = Direction::Down)]
    direction: Direction,
}

pub async fn run(args: &BulkArgs) -> Result<Sample> {
    let shared = args.common.shared()?;
    let bytes = args.mib.checked_mul(1024 * 1024).context("`--mib` is too large")?;
    let block: Arc<[u8]> = wire::bulk().into();
    let mut conns = Vec::new();
    for number in 0..args.tunnels {
        conns.push(Conn::open(&shared, number).await?.0);
    }
    sleep(SETTLE).await;
    let meter = Meter::start(args.common.pid);
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for mut conn in conns {
        let (direction, block) = (args.direction, Arc::clone(&block));
        workers.spawn(async move {
            match direction {
                Direction::Down => conn.download(bytes).await,
                Direction::Up => conn.upload(bytes, &block).await,
            }
            .map(|()| conn)
        });
    }
    let (mut failures, mut open, mut moved) = (Failures::default(), Vec::new(), 0_u64);
    while let Some(ended) = workers.join_next().await {
        match ended? {
            Ok(conn) => {
                moved = moved.saturating_add(bytes);
                open.push(conn);
            }
            Err(error) => failures.add(&error.to_string()),
        }
    }
    let (took, cpu) = (began.elapsed().as_secs_f64(), meter.seconds());
    let mut sample = sample(failures);
    sample.put_per(Figure::CpuPerGb, cpu * 1e9, moved);
    sample.put(Figure::GbPerSecond, count(moved) / 1e9 / took);
    Ok(sample)
}
