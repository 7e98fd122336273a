//! Class 4001, Network Activity: what was decided, how a tunnel ended, and refusals that were only counted.
//! Not here: what all events have (`super`). Source: schema.ocsf.io/1.8.0/classes/network_activity, with the profiles
//! `security_control` (what the proxy did about it), `network_proxy` (the proxy's own side) and `datetime`.

use serde_json::{Value, json};

use super::{Class, Event, OTHER, Severity, Status};
use crate::decision_log::Kind;
use crate::evidence::record::Line;
use crate::policy::{Ending, Outcome, Reason};

const CLASS: Class = Class { uid: 4001, category: 4, profiles: &["datetime", "network_proxy", "security_control"] };

/// `activity_id`.
mod activity {
    pub(super) const OPEN: u64 = 1;
    pub(super) const CLOSE: u64 = 2;
    pub(super) const RESET: u64 = 3;
    pub(super) const FAIL: u64 = 4;
    pub(super) const REFUSE: u64 = 5;
}

/// `action_id`: what the policy says.
mod action {
    pub(super) const ALLOWED: u64 = 1;
    pub(super) const DENIED: u64 = 2;
    pub(super) const OBSERVED: u64 = 3;
}

/// `disposition_id`: what was done.
mod disposition {
    pub(super) const ALLOWED: u64 = 1;
    pub(super) const BLOCKED: u64 = 2;
    pub(super) const DETECTED: u64 = 15;
    pub(super) const ACCESS_REVOKED: u64 = 24;
    pub(super) const ERROR: u64 = 27;
}

/// `direction_id` 2 is out of the network; `protocol_num` 6 is TCP; extension 16 of a ClientHello is ALPN.
const OUTBOUND: u64 = 2;
const TCP: u64 = 6;
const ALPN: u64 = 16;

/// What the numbers of an event follow from.
struct Verdict {
    activity: u64,
    action: u64,
    disposition: u64,
    status: Status,
    severity: Severity,
}

pub(super) fn event(line: &Line) -> Event {
    let verdict = match line.kind {
        Kind::Close => ended(line),
        Kind::Decision | Kind::Summary | Kind::Policy | Kind::Admin | Kind::Start => decided(line),
        Kind::Stop | Kind::Heartbeat | Kind::Export | Kind::ControlFailure => decided(line),
    };
    let fields = json!({
        "action_id": verdict.action,
        "action": (verdict.action == OTHER).then_some("error"),
        "disposition_id": verdict.disposition,
        "message": message(line),
        "status_detail": detail(line),
        "count": line.detail.get("count").and_then(Value::as_u64),
        "duration": line.duration_us.map(|micros| micros / 1000),
        "start_time": started(line),
        "end_time": started(line).map(|_| line.time.as_millisecond()),
        "is_src_dst_assignment_known": true,
        "src_endpoint": source(line),
        "dst_endpoint": destination(line),
        "connection_info": {
            "uid": line.id,
            "direction_id": OUTBOUND,
            "protocol_num": TCP,
            "protocol_name": "tcp",
            "protocol_ver_id": line.client_ip.map(|ip| if ip.is_ipv4() { 4 } else { 6 }),
        },
        "traffic": {
            "bytes": line.bytes_out.zip(line.bytes_in).map(|(out, back)| out.saturating_add(back)),
            "bytes_out": line.bytes_out,
            "bytes_in": line.bytes_in,
        },
        "tls": tls(line),
        "proxy_endpoint": {
            "name": line.instance,
            "interface_name": line.listener,
            "ip": line.egress_ip,
            "pool": {"name": line.egress_pool},
        },
        "firewall_rule": {"uid": line.rule},
        "policy": line.policy.as_ref().map(|policy| json!({"uid": policy, "name": "policy files", "is_applied": true})),
        "unmapped": {
            "customer": line.customer,
            "method": line.method,
            "path_template": line.path_template,
            "original_ip": line.original_ip,
            "addresses": line.addresses,
            "ech": line.ech,
            "verify": line.verify,
            "duration_us": line.duration_us,
            "dns_us": line.dns_us,
            "dial_us": line.dial_us,
            "hello_us": line.hello_us,
            "actor": line.actor,
        },
    });
    Event { class: &CLASS, activity: verdict.activity, status: verdict.status, severity: verdict.severity, fields }
}

/// A decision, or many alike. What has no outcome was let through by nobody.
fn decided(line: &Line) -> Verdict {
    let (activity, action, disposition, status, severity) = match line.outcome {
        Some(Outcome::Allow) => {
            (activity::OPEN, action::ALLOWED, disposition::ALLOWED, Status::Success, Severity::Informational)
        }
        Some(Outcome::Observe) => {
            (activity::OPEN, action::OBSERVED, disposition::DETECTED, Status::Success, Severity::Low)
        }
        Some(Outcome::Deny) | None => {
            (activity::REFUSE, action::DENIED, disposition::BLOCKED, Status::Failure, Severity::Low)
        }
        Some(Outcome::Error) => (activity::FAIL, OTHER, disposition::ERROR, Status::Failure, Severity::Medium),
    };
    Verdict { activity, action, disposition, status, severity }
}

/// The end of a tunnel. One that the proxy cut is a reset: the schema's word for what a device between the two does.
fn ended(line: &Line) -> Verdict {
    let through = match line.outcome {
        Some(Outcome::Observe) => (action::OBSERVED, disposition::DETECTED),
        Some(Outcome::Allow | Outcome::Deny | Outcome::Error) | None => (action::ALLOWED, disposition::ALLOWED),
    };
    let ending = line.reason.as_deref().and_then(|word| word.parse::<Ending>().ok());
    let (activity, (action, disposition), status, severity) = match ending {
        Some(Ending::ClientClosed | Ending::ServerClosed | Ending::Shutdown) => {
            (activity::CLOSE, through, Status::Success, Severity::Informational)
        }
        Some(Ending::IdleTimeout | Ending::LifetimeExceeded) => {
            (activity::CLOSE, through, Status::Success, Severity::Informational)
        }
        Some(Ending::Reset) | None => (activity::RESET, through, Status::Failure, Severity::Informational),
        Some(Ending::Revoked) => {
            (activity::RESET, (action::DENIED, disposition::ACCESS_REVOKED), Status::Failure, Severity::Low)
        }
        Some(Ending::ByteBudgetSpent | Ending::Refused(_)) => {
            (activity::RESET, (action::DENIED, disposition::BLOCKED), Status::Failure, Severity::Low)
        }
    };
    Verdict { activity, action, disposition, status, severity }
}

/// One line for people: nothing in it was sent by a peer.
fn message(line: &Line) -> Option<String> {
    let word = line.reason.as_deref()?;
    Some(match line.kind {
        Kind::Close => format!("tunnel ended: {word}"),
        Kind::Decision
        | Kind::Summary
        | Kind::Policy
        | Kind::Admin
        | Kind::Start
        | Kind::Stop
        | Kind::Heartbeat
        | Kind::Export
        | Kind::ControlFailure => {
            format!("{}: {word}", line.outcome.map_or("refused", Outcome::as_str))
        }
    })
}

/// What the reason means.
fn detail(line: &Line) -> Option<&'static str> {
    let reason: Reason = line.reason.as_deref()?.parse().ok()?;
    Some(reason.facts().title)
}

/// When the tunnel began, in milliseconds: an end knows how long it was.
fn started(line: &Line) -> Option<i64> {
    let lasted = line.duration_us.filter(|_| line.kind == Kind::Close)?;
    line.time.as_microsecond().checked_sub_unsigned(lasted).map(|micros| micros.div_euclid(1000))
}

/// The client. A source without an address, as in a count of refusals, is a name.
fn source(line: &Line) -> Value {
    let nameless = line.source.is_none() && line.client_ip.is_none();
    json!({
        "ip": line.client_ip,
        "port": line.client_port,
        "name": if nameless { Some("unknown") } else { line.source.as_deref() },
        "uid": line.client_identity,
        "intermediate_ips": line.peer_ip.map(|ip| [ip]),
    })
}

/// Where it wants to go. A literal address that was asked for is no host name.
fn destination(line: &Line) -> Value {
    let host = line.host.as_deref();
    let literal = host.filter(|host| host.parse::<std::net::IpAddr>().is_ok());
    let ip = line.upstream_ip.map(|ip| ip.to_string()).or_else(|| literal.map(str::to_owned));
    if host.is_none() && ip.is_none() {
        return Value::Null;
    }
    json!({
        "hostname": host.filter(|_| literal.is_none()),
        "ip": ip,
        "port": line.port,
        "owner": {"name": line.customer},
    })
}

/// What was seen of TLS. The version is known once the server has chosen, and required by the schema.
fn tls(line: &Line) -> Value {
    if line.sni.is_none() && line.alpn.is_empty() && line.tls_version.is_none() {
        return Value::Null;
    }
    let offered = (!line.alpn.is_empty()).then(|| json!([{"type_id": ALPN, "data": line.alpn}]));
    json!({
        "version": line.tls_version.as_deref().unwrap_or("unknown"),
        "cipher": line.tls_cipher,
        "sni": line.sni,
        "tls_extension_list": offered,
    })
}
