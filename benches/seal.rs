//! What sealing a segment costs, and what reading from a sealed one does. Compare runs, not absolute times.
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up stops; criterion makes undocumented items")]

#[path = "shared/chance.rs"]
mod chance;

use std::fmt::Write;
use std::hint::black_box;
use std::io::Cursor;

use chance::Chance;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sallyport::decision_log::sealed::{Facets, Fields, Key, Sealed, seal};

/// A usual segment has 64 MiB; an eighth of it takes as long a record.
const RECORDS: u64 = 12_000;

/// Decisions and closes of some customers, one in twenty refused: as long and as varied as they are.
fn lines() -> String {
    let mut chance = Chance(0x5a11_7907);
    let mut lines = String::new();
    let policy = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    for seq in 0..RECORDS {
        let (request, micros) = (seq / 2, 1_000_000 + seq * 50);
        let mut of_request = Chance(0x9e37_79b9_7f4a_7c15 ^ (request + 1));
        of_request.below(2);
        let (high, low) = (of_request.below(1 << 12), of_request.below(1 << 60));
        let (customer, host, client) = (of_request.below(10), of_request.below(300), of_request.below(60_000));
        let is_close = seq % 2 == 1;
        let (outcome, reason) = match (of_request.below(20), is_close) {
            (0, _) => ("deny", "destination_not_listed"),
            (_, false) => ("allow", "allowed"),
            (_, true) => ("allow", "client_closed"),
        };
        let kind = if is_close && outcome == "allow" { "close" } else { "decision" };
        write!(
            lines,
            "{{\"v\":1,\"seq\":{seq},\"time\":\"2026-11-21T10:00:{:02}.{:06}Z\",\"kind\":\"{kind}\",\
             \"id\":\"01a1ee56-5e00-7{high:03x}-8{:03x}-{:012x}\",\"instance\":\"edge-1\",\"environment\":\"production\",\
             \"listener\":\"edge\",\"outcome\":\"{outcome}\",\"reason\":\"{reason}\",\"rule\":\"customer{customer}/payments\",\
             \"customer\":\"customer{customer}\",\"source\":\"ivr-{}\",\"policy\":\"{policy}\",\"client_ip\":\"10.20.{}.{}\",\
             \"client_port\":{},\"method\":\"CONNECT\",\"host\":\"h{host}.c{customer}.customer.example\",\"port\":443,\
             \"addresses\":[\"203.0.113.{}\"],\"upstream_ip\":\"203.0.113.{}\",\"egress_ip\":\"198.51.100.9\",\
             \"sni\":\"h{host}.c{customer}.customer.example\",\"alpn\":[\"h2\",\"http/1.1\"],\"ech\":false,\"verify\":\"none\"",
            micros / 1_000_000,
            micros % 1_000_000,
            low >> 48,
            low & 0xffff_ffff_ffff,
            customer % 3,
            client / 250,
            client % 250 + 1,
            1024 + client,
            host % 250,
            host % 250,
        )
        .expect("memory");
        if kind == "close" {
            let bytes = chance.below(100_000);
            write!(lines, ",\"bytes_out\":{bytes},\"bytes_in\":{},\"duration_us\":{}", bytes * 7, bytes * 31)
                .expect("memory");
        }
        writeln!(lines, ",\"dns_us\":{},\"dial_us\":{}}}", of_request.below(900), of_request.below(90_000))
            .expect("memory");
    }
    lines
}

fn sealing(c: &mut Criterion) {
    let lines = lines();
    let line = lines.lines().nth(7).expect("a line");
    let mut group = c.benchmark_group("seal");
    group.throughput(Throughput::Elements(1));
    group.bench_function("fields of a line", |b| b.iter(|| Fields::of(black_box(line)).flatten().count()));
    group.bench_function("facets of a line", |b| b.iter(|| Facets::of(black_box(line.as_bytes())).expect("a record")));
    group.bench_function("key of a filter", |b| b.iter(|| Key::id(black_box("01a1ee56-5e00-72b3-b4d5-8d82ca63c96e"))));
    group.throughput(Throughput::Elements(RECORDS));
    group.sample_size(20);
    group.bench_function("records", |b| {
        b.iter(|| seal(&mut lines.as_bytes(), 0, &mut std::io::sink()).expect("records of ours"));
    });
    group.finish();
}

fn reading(c: &mut Criterion) {
    let lines = lines();
    let mut file = Vec::new();
    seal(&mut lines.as_bytes(), 0, &mut file).expect("records of ours");
    let mut group = c.benchmark_group("sealed");
    group.bench_function("open", |b| b.iter(|| Sealed::open(Cursor::new(&file)).expect("a sealed segment")));
    let mut sealed = Sealed::open(Cursor::new(&file)).expect("a sealed segment");
    group.bench_function("one frame", |b| b.iter(|| sealed.frame(3).expect("a frame")));
    group.finish();
}

criterion_group!(benches, sealing, reading);
criterion_main!(benches);
