//! What the client sees: the `200` that opens a tunnel, the problem document that refuses one, the TLS alert that ends one.
//! Not here: why (`policy::reason`). Nothing repeats what the client sent, an address that was resolved, or a rule's contents.
//! Source: RFC 9457 (problem documents), RFC 9209 (Proxy-Status), RFC 9112 section 9.6 (closing without losing the answer).

use std::fmt::{self, Write};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::policy::{Facts, Reason};
use crate::runtime::stream::{ClientStream, End};
use crate::tls;

/// RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The customary words; some clients look for them.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

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

/// The document that tells why a request is refused.
fn problem(reason: Reason, id: Uuid) -> Vec<u8> {
    let facts = reason.facts();
    let problem = Problem {
        r#type: format!("urn:sallyport:reason:{}", facts.word),
        title: facts.title,
        status: facts.status,
        detail: facts.detail,
        reason: facts.word,
        decision_id: id,
    };
    // Serialising owned strings and numbers cannot fail; an empty body would still be a refusal.
    serde_json::to_vec(&problem).unwrap_or_default()
}

/// The fields of a refusal with a body of `length` bytes, the same in every version of HTTP.
fn fields(reason: Reason, length: usize) -> Vec<(HeaderName, String)> {
    let Facts { word, proxy_error, .. } = reason.facts();
    let mut fields = vec![
        (header::CONTENT_TYPE, "application/problem+json".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (PROXY_STATUS, format!("sallyport; error={proxy_error}; details=\"{word}\"")),
    ];
    if reason == Reason::CredentialsMissing {
        let schemes = ["Bearer", "Basic realm=\"sallyport\", charset=\"UTF-8\""];
        fields.extend(schemes.map(|scheme| (header::PROXY_AUTHENTICATE, scheme.to_owned())));
    }
    fields
}

/// The whole refusal as HTTP/1.1, body included unless the method was HEAD.
pub fn refusal(reason: Reason, id: Uuid, head_only: bool) -> Vec<u8> {
    let body = problem(reason, id);
    let mut answer = format!("HTTP/1.1 {} {reason}\r\n", reason.facts().status);
    for (name, value) in fields(reason, body.len()) {
        // Some clients look for the customary capitals.
        answer.extend([TitleCase(name.as_str()).to_string().as_str(), ": ", &value, "\r\n"]);
    }
    answer.push_str("Connection: close\r\n\r\n");
    let mut answer = answer.into_bytes();
    if !head_only {
        answer.extend_from_slice(&body);
    }
    answer
}

/// A field's name with a capital at the start of each word.
struct TitleCase<'a>(&'a str);

impl fmt::Display for TitleCase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut capital = true;
        self.0.chars().try_for_each(|letter| {
            f.write_char(if capital { letter.to_ascii_uppercase() } else { letter })?;
            capital = letter == '-';
            Ok(())
        })
    }
}

/// Opens the tunnel: the client may send its hello.
///
/// # Errors
/// What the client's end gives; `TimedOut`.
pub async fn establish(client: &ClientStream, deadline: Instant) -> io::Result<()> {
    match client {
        ClientStream::Tcp(_) | ClientStream::Unix(_) | ClientStream::Tls(_) => {
            client.end().write_until(ESTABLISHED, deadline).await
        }
        ClientStream::Http2(end) => end.answer(Response::new(()), false),
    }
}

/// Sends a refusal before the tunnel and closes, so that the client gets it whole.
pub async fn refuse(client: &ClientStream, reason: Reason, id: Uuid, head_only: bool) {
    match client {
        ClientStream::Tcp(_) | ClientStream::Unix(_) | ClientStream::Tls(_) => {
            send_and_close(client.end(), &refusal(reason, id, head_only)).await;
        }
        ClientStream::Http2(end) => {
            let body = problem(reason, id);
            // A stream that is gone has forgone its answer; the record stands.
            if end.answer(response(reason, body.len()), head_only).is_ok() && !head_only {
                send_and_close(client.end(), &body).await;
            }
        }
    }
}

/// The head of a refusal in HTTP/2.
fn response(reason: Reason, length: usize) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(reason.facts().status).unwrap_or(StatusCode::FORBIDDEN);
    for (name, value) in fields(reason, length) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Ends an opened tunnel with a fatal TLS alert and closes.
pub async fn end_with_alert(client: &ClientStream, reason: Reason) {
    send_and_close(client.end(), &tls::alert(reason.facts().alert)).await;
}

async fn send_and_close(client: End<'_>, bytes: &[u8]) {
    let deadline = Instant::now() + DRAIN_TIME;
    // A client that is gone or does not read has forgone its answer; the record stands.
    let _ = timeout_at(deadline, async {
        client.write_until(bytes, deadline).await?;
        poll_fn(|cx| client.poll_end(cx)).await?;
        match client {
            End::Socket(_) | End::Tls(_) => drain(client).await,
            // Its connection lives on: what is left of the stream is reset by being dropped, behind its answer.
            End::Http2(_) => Ok(()),
        }
    })
    .await;
}

/// Reads and throws away what the client still sends, within bounds, until it closes.
async fn drain(client: End<'_>) -> io::Result<()> {
    let mut left = DRAIN_BYTES;
    while left > 0 {
        match poll_fn(|cx| discard(client, cx)).await? {
            0 => return Ok(()),
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

/// One read into a buffer that no waiting future holds.
fn discard(client: End<'_>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut bytes = [0_u8; 4096];
    client.poll_read(cx, &mut bytes)
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
