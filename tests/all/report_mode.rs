//! Report mode through the whole proxy: to an address that anybody could have, which takes a network of the test's own.
//! Not here: what it lets through by table (`policy::report`), its end (`runtime::timed`).

use std::net::{SocketAddr, TcpStream};

use jiff::tz::TimeZone;
use serde_json::json;

use super::ends::await_metric;
use super::harness::Proxy;
use super::namespaces::{Far, NEAR, ip};
use super::origins::{self, Answer, Origin, ask, hello_for};
use super::programs::{finish, sallyport};

/// A public address, which in the test's network is the test's.
const SERVER: &str = "9.9.9.9";

/// Where a report source's connections leave from.
const EGRESS: &str = "203.0.113.16";

fn start(far: &Far) -> Proxy {
    let until = jiff::Timestamp::now().to_zoned(TimeZone::UTC).date().tomorrow().unwrap();
    let policy = format!(
        "  - {{name: near, subnets: [{NEAR}/32], class: general, mode: report, report_until: {until}, egress: office}}
never: {{hosts: [never.example]}}
rules:
  - {{id: acme/api, customer: acme, sources: [near], hosts: [api.example], expires: 2020-01-01}}
"
    );
    let hosts = ["api", "new", "never"].map(|name| format!("{name}.example: [{SERVER}]")).join(", ");
    let more = format!(
        "dns: {{hosts: {{{hosts}, inner.example: [10.0.0.5]}}}}\negress: {{pools: {{office: {{bind: [{EGRESS}/32]}}}}}}\n"
    );
    far.proxy(&policy, &more)
}

#[test]
fn what_no_rule_lets_through_is_let_through_and_recorded() {
    let Some(far) = Far::of("report_mode::what_no_rule_lets_through_is_let_through_and_recorded") else { return };
    ip(&["addr", "add", &format!("{SERVER}/32"), "dev", "lo"]);
    far.add(EGRESS.parse().unwrap());
    let origin = Origin::on(SocketAddr::new(SERVER.parse().unwrap(), 0));
    let proxy = start(&far);
    for (host, name, outcome, reason) in [
        ("new.example", "new.example", "observe", "destination_not_listed"),
        ("api.example", "api.example", "observe", "port_not_allowed"),
        ("new.example", "other.example", "deny", "sni_mismatch"),
        ("never.example", "never.example", "deny", "destination_denied"),
        ("inner.example", "inner.example", "deny", "address_forbidden"),
        (SERVER, "new.example", "deny", "destination_not_listed"),
    ] {
        let mut socket = TcpStream::connect(proxy.edge).unwrap();
        let client = socket.local_addr().unwrap();
        let got = ask(&mut socket, &format!("{host}:{}", origin.port()), &hello_for(name));
        assert_eq!(got == Answer::Open, outcome == "observe", "{host} {name}: {got:?}");
        let record = proxy.decision_of(client);
        assert_eq!((&record["outcome"], &record["reason"]), (&json!(outcome), &json!(reason)), "{record}");
        assert_eq!((&record["rule"], &record["source"]), (&json!(null), &json!("near")), "{record}");
        if outcome == "observe" {
            assert_eq!((&record["egress_pool"], &record["egress_ip"]), (&json!("office"), &json!(EGRESS)), "{record}");
            assert!(origins::echoes(&mut socket, b"observed"), "{host}");
            drop(socket);
            let close = proxy.record("a close", |close| close["kind"] == "close" && close["id"] == record["id"]);
            assert_eq!((&close["outcome"], &close["reason"]), (&json!("observe"), &json!("client_closed")), "{close}");
        }
    }
    let observed = "outcome=\"observe\",reason=\"destination_not_listed\"}";
    await_metric(&proxy, &format!("sallyport_decisions_total{{customer=\"-\",listener=\"edge\",{observed}"), 1.0);
    let start = proxy.record("a start", |record| record["kind"] == "start");
    assert_eq!(start["detail"]["reporting"], json!(["near"]), "{start}");
    let words = ["policy", "suggest", "--since", "1h", "-c"];
    let told = finish(sallyport().args(words).arg(proxy.dir.path().join("sallyport.yaml")), "");
    let port = origin.port();
    for want in [
        "id: suggested/new.example\n",
        "sources: [near]\n",
        "- new.example   # 1 request, ",
        &format!("ports: [{port}]\n"),
    ] {
        assert!(told.code == Some(0) && told.out.contains(want), "{want}: {told:?}");
    }
}
