//! What the client sees: the `200` that opens a tunnel, the problem document that refuses one, the TLS alert that ends one.
//! Not here: why (`policy::reason`). Nothing repeats what the client sent, an address that was resolved, or a rule's contents.
//! Source: RFC 9457 (problem documents), RFC 9209 (Proxy-Status), RFC 9112 section 9.6 (closing without losing the answer).

use std::io;
use std::time::Duration;

use serde::Serialize;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::policy::Reason;
use crate::tls;

/// The customary words; some clients look for them.
pub const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// How long a client may take to read its refusal and close.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Upper bound of unread bytes that are read and thrown away, so that closing does not reset the connection under the answer.
const DRAIN_BYTES: usize = 256 * 1024;

/// A problem document (RFC 9457), with `reason` and `decision_id` as extension members.
#[derive(Serialize)]
struct Problem {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    reason: &'static str,
    decision_id: Uuid,
}

/// The whole refusal as HTTP/1.1, body included unless the method was HEAD.
pub fn refusal(reason: Reason, id: Uuid, head_only: bool) -> Vec<u8> {
    let facts = reason.facts();
    let word = facts.word;
    let problem = Problem {
        r#type: format!("urn:sallyport:reason:{word}"),
        title: facts.title,
        status: facts.status,
        detail: facts.detail,
        reason: word,
        decision_id: id,
    };
    // Serialising owned strings and numbers cannot fail; an empty body would still be a refusal.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut answer = format!(
        "HTTP/1.1 {status} {word}\r\nContent-Type: application/problem+json\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         Proxy-Status: sallyport; error={error}; details=\"{word}\"\r\nConnection: close\r\n\r\n",
        status = facts.status,
        length = body.len(),
        error = facts.proxy_error,
    )
    .into_bytes();
    if !head_only {
        answer.extend_from_slice(&body);
    }
    answer
}

/// Sends a refusal before the tunnel and closes, so that the client gets it whole.
pub async fn refuse(socket: &mut TcpStream, reason: Reason, id: Uuid, head_only: bool) {
    send_and_close(socket, &refusal(reason, id, head_only)).await;
}

/// Ends an opened tunnel with a fatal TLS alert and closes.
pub async fn end_with_alert(socket: &mut TcpStream, reason: Reason) {
    send_and_close(socket, &tls::alert(reason.facts().alert)).await;
}

async fn send_and_close(socket: &mut TcpStream, bytes: &[u8]) {
    let deadline = Instant::now() + DRAIN_TIME;
    // A client that is gone or does not read has forgone its answer; the record stands.
    let _ = timeout_at(deadline, async {
        socket.write_all(bytes).await?;
        SockRef::from(&*socket).shutdown(std::net::Shutdown::Write)?;
        drain(socket).await
    })
    .await;
}

/// Reads and throws away what the client still sends, within bounds, until it closes.
async fn drain(socket: &TcpStream) -> io::Result<()> {
    let mut left = DRAIN_BYTES;
    while left > 0 {
        socket.readable().await?;
        match discard(socket) {
            Ok(0) => return Ok(()),
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One read into a buffer that no waiting future holds.
fn discard(socket: &TcpStream) -> io::Result<usize> {
    let mut bytes = [0_u8; 4096];
    socket.try_read(&mut bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_reason_four_times_and_repeats_nothing() {
        let id = Uuid::from_u128(7);
        let text = String::from_utf8(refusal(Reason::DestinationNotListed, id, false)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 destination_not_listed\r\n"), "{head}");
        assert!(head.contains("details=\"destination_not_listed\""), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["reason"], "destination_not_listed");
        assert_eq!(problem["status"], 403);
        assert_eq!(problem["decision_id"], id.to_string());
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "`{member}` in {body}");
        }
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let text = String::from_utf8(refusal(Reason::MethodNotAllowed, Uuid::nil(), true)).unwrap();
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }
}
