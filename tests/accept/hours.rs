//! Hours that end while tunnels are open: each goes as its rule says, within two seconds of the minute. Waits for the minute, so it is not
//! in `make test`. Not here: which moments are within hours (`policy::hours`).

use std::time::Duration;

use sallyport::runtime::clock;

use crate::harness::{Proxy, Setup, eventually};
use crate::origins::{Answer, Origin, ask, echoes, ends, hello_for};

/// What rules say of open tunnels; each rule's name.
const EXISTING: [&str; 3] = ["keep", "drain 1s", "cut"];

/// Before the minute there is so much time for opening tunnels.
const LEAD: u64 = 5;

/// Opens a tunnel by each of three rules whose hours end, and waits for that.
pub fn end_what_is_open() {
    let origin = Origin::start();
    let now = || clock::now().duration_since(jiff::Timestamp::UNIX_EPOCH).unsigned_abs();
    let end = (now().as_secs() + LEAD).div_ceil(60) * 60;
    let (hour, minute) = (end / 3600 % 24, end / 60 % 60);
    let hours = format!(
        "hours: {{days: [mon, tue, wed, thu, fri, sat, sun], from: '{:02}:{minute:02}', to: '{hour:02}:{minute:02}', zone: UTC}}",
        (hour + 1) % 24
    );
    let name = |number: usize| format!("n{number}.acme.test");
    let rule = |(number, existing): (usize, &&str)| {
        let at = format!("hosts: [{}], ports: [{}], addresses: [127.0.0.1/32]", name(number), origin.port());
        format!("  - {{id: r{number}, customer: acme, sources: [tests], {at}, existing: {existing}, {hours}}}\n")
    };
    let rules: String = EXISTING.iter().enumerate().map(rule).collect();
    let hosts: Vec<String> = (0..EXISTING.len()).map(|number| format!("{}: [127.0.0.1]", name(number))).collect();
    let more = format!("dns: {{hosts: {{{}}}}}\n", hosts.join(", "));
    let proxy = Proxy::start(&Setup { policy: &format!("rules:\n{rules}"), more: &more, ..Setup::default() });
    let request = |number| {
        let mut socket = proxy.connect();
        let answer = ask(&mut socket, &format!("{}:{}", name(number), origin.port()), &hello_for(&name(number)));
        (socket, answer)
    };
    let [mut keep, mut drain, mut cut] = [0, 1, 2].map(|number| {
        let (socket, answer) = request(number);
        assert_eq!(answer, Answer::Open, "{}", EXISTING[number]);
        socket
    });
    cut.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    assert!(now().as_secs() < end, "all are open before the minute");
    assert!(ends(&mut cut));
    let late = now().as_secs_f64() - end as f64;
    assert!((0.0..2.0).contains(&late), "cut {late} seconds after the minute");
    assert!(matches!(request(2).1, Answer::Refused(text) if text.contains("outside_hours")));
    assert!(ends(&mut drain), "its time is over");
    assert!(echoes(&mut keep, b"still here"));
    println!("hours ended {late:.2} s after the minute");
    let closes = eventually("two ends", std::time::Instant::now() + crate::harness::PATIENCE, || {
        let found: Vec<_> = proxy.records().into_iter().filter(|record| record["kind"] == "close").collect();
        (found.len() == 2).then_some(found)
    });
    assert!(closes.iter().all(|close| close["reason"] == "revoked" && close["rule"] != "r0"), "{closes:?}");
}
