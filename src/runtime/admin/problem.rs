//! What a caller of the admin port did wrong, as a problem document. Source: RFC 9457.
//! Not here: calls without a token or of the wrong role (`guarded`), which get a line of text.

use http::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::typed;

/// The content type of a problem document.
const PROBLEM: &str = "application/problem+json";

/// A problem document: its own words, and in `more` what is particular to it.
#[derive(Serialize)]
pub struct Problem<'a, T: Serialize> {
    /// Names the kind of problem.
    pub r#type: &'static str,
    /// What happened.
    pub title: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// More members.
    #[serde(flatten)]
    pub more: &'a T,
}

/// The answer that is a problem document.
pub fn problem<T: Serialize>(
    status: StatusCode,
    r#type: &'static str,
    title: &'static str,
    more: &T,
) -> Response<Body> {
    json(status, PROBLEM, &Problem { r#type, title, status: status.as_u16(), more })
}

/// An answer of our own plain structs, which can all be written.
pub fn json<T: Serialize>(status: StatusCode, kind: &'static str, value: &T) -> Response<Body> {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    typed(status, kind, body)
}
