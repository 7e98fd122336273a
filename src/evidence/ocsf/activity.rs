//! Classes 1008, 3004 and 2003: the log's own life, changes and their authors, and controls that failed.
//! Not here: connections (`network`), what all events have (`super`).
//! Source: schema.ocsf.io/1.8.0, classes event_log_activity, entity_management and compliance_finding.

use serde_json::json;

use super::{Class, Event, OTHER, Severity, Status, exact, said};
use crate::decision_log::{Kind, origin};
use crate::evidence::record::Line;

const EVENT_LOG: Class = Class { uid: 1008, category: 1, profiles: &["datetime"] };
const ENTITY: Class = Class { uid: 3004, category: 3, profiles: &["datetime"] };
const FINDING: Class = Class { uid: 2003, category: 2, profiles: &["datetime"] };

/// Of a log: an application's (`log_type_id`).
const APPLICATION: u64 = 2;

/// Of an entity: a policy (`type_id`).
const POLICY: u64 = 5;

/// Of a finding: `activity_id` for one that is new; `status_id` for one that is over; `compliance.status_id` for a failure.
const CREATE: u64 = 1;
const RESOLVED: u64 = 4;
const FAIL: u64 = 3;

/// `start`, `stop`, `heartbeat` and `export`.
pub(super) fn of_the_log(line: &Line) -> Event {
    let (activity, name, message) = match line.kind {
        Kind::Start => (6, "Start", "the proxy started"),
        Kind::Stop => (7, "Stop", "the proxy stopped"),
        Kind::Export => (3, "Export", "records left the host"),
        Kind::Heartbeat
        | Kind::Decision
        | Kind::Close
        | Kind::Summary
        | Kind::Policy
        | Kind::Admin
        | Kind::ControlFailure => (OTHER, "Heartbeat", "the proxy lives"),
    };
    let fields = json!({
        "activity_name": name,
        "message": message,
        "log_name": origin(&line.instance),
        "log_provider": "sallyport",
        "log_type_id": APPLICATION,
        "actor": line.actor.as_ref().map(|actor| json!({"user": {"name": actor}})),
        "device": {"name": line.instance, "hostname": line.instance, "type_id": OTHER, "type": "egress proxy"},
        "unmapped": {"policy": line.policy},
    });
    Event { class: &EVENT_LOG, activity, status: Status::Success, severity: Severity::Informational, fields }
}

/// `policy` and `admin`: what was changed, or was to be, and by whom.
pub(super) fn of_an_entity(line: &Line) -> Event {
    let refused = said(line, "result") == Some("refused");
    let (status, severity) =
        if refused { (Status::Failure, Severity::Medium) } else { (Status::Success, Severity::Informational) };
    let (activity, name, entity, message) = if line.kind == Kind::Policy {
        let message = if refused { "a policy was refused" } else { "a policy came into force" };
        let entity = json!({
            "type_id": POLICY,
            "name": "policy files",
            "policy": {"name": "policy files", "uid": line.policy, "is_applied": !refused},
        });
        (3, "Update", entity, message)
    } else {
        let message = if refused { "a call was refused" } else { "the proxy was changed" };
        let what = said(line, "what").or_else(|| said(line, "call"));
        (
            OTHER,
            what.unwrap_or("call"),
            json!({"type_id": OTHER, "type": "egress proxy", "name": line.instance}),
            message,
        )
    };
    let fields = json!({
        "activity_name": name,
        "message": message,
        "entity": entity,
        "actor": line.actor.as_ref().map(|actor| json!({"user": {"name": actor}})),
        "src_endpoint": {"ip": line.client_ip, "port": line.client_port},
    });
    Event { class: &ENTITY, activity, status, severity, fields }
}

/// `control_failure`: a failure of the log is written when it is over, one of the clock when it is seen.
pub(super) fn of_a_control(line: &Line) -> Event {
    let what = said(line, "what").unwrap_or("control");
    let (control, requirement) = if what == "clock" { ("clock", "10.6") } else { (what, "10.7.2") };
    let title = format!("a control failed: {control}");
    let over = (what == "decision_log").then_some(RESOLVED);
    let fields = json!({
        "activity_name": "Create",
        "message": title,
        "status_id": over.unwrap_or(1),
        "compliance": {
            "control": control,
            "standards": ["PCI DSS 4.0.1"],
            "requirements": [requirement],
            "status_id": FAIL,
            "status_detail": said(line, "error"),
        },
        "finding_info": {
            "uid": line.id,
            "title": title,
            "created_time": line.time.as_millisecond(),
            "created_time_dt": exact(line.time),
        },
        "device": {"name": line.instance, "hostname": line.instance, "type_id": OTHER, "type": "egress proxy"},
    });
    Event { class: &FINDING, activity: CREATE, status: Status::Failure, severity: Severity::High, fields }
}
