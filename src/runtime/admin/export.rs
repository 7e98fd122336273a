//! The record of an export: what somebody has taken out of the log says so in the log.
//! Not here: making exports (`cli`, `evidence`). Source: PCI DSS 10.2.1.3 (all access to logs is recorded).

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

use crate::decision_log::Detail;
use crate::redact::Redactor;

/// Bytes of the longest description of an export.
const MAX_DESCRIPTION: usize = 64 * 1024;

/// Bytes of a query's text in a record.
pub const MAX_QUERY: usize = 2000;

/// What an export is, as its maker describes it. Only the hash must be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    /// SHA-256 of what was exported, 64 hexadecimal digits.
    sha256: String,
    /// `csv`, `jsonl`, `ocsf`.
    format: Option<String>,
    /// The filters.
    query: Option<String>,
    /// How many records were exported.
    records: Option<u64>,
    /// The number of the first of them.
    first_seq: Option<u64>,
    /// The number of the last.
    last_seq: Option<u64>,
}

/// A body that describes no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It does not come, or is too long.
    #[error("the description did not come, or has more than {MAX_DESCRIPTION} bytes")]
    Body,
    /// It is no JSON, or has other fields. What it says is not repeated.
    #[error(
        "not a description of an export at column {0}; write {{\"sha256\": \"64 hexadecimal digits\"}}, and as you like format, query, \
         records, first_seq, last_seq"
    )]
    Json(usize),
    /// The hash is none.
    #[error("`sha256` is no SHA-256; write its 64 hexadecimal digits")]
    Hash,
}

/// What the record of an export says, out of the body of a call.
///
/// # Errors
/// See [`ExportError`].
pub async fn described(body: Incoming, redactor: &Redactor) -> Result<Detail, ExportError> {
    let body = Limited::new(body, MAX_DESCRIPTION).collect().await.map_err(|_| ExportError::Body)?;
    detail(&body.to_bytes(), redactor)
}

fn detail(body: &Bytes, redactor: &Redactor) -> Result<Detail, ExportError> {
    let export: Export = serde_json::from_slice(body).map_err(|error| ExportError::Json(error.column()))?;
    if export.sha256.len() != 64 || !export.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ExportError::Hash);
    }
    let text = |text: &str, limit| redactor.clean(text.as_bytes(), limit).text;
    let hash = export.sha256.to_ascii_lowercase();
    let mut detail = Detail::new().with("sha256", std::sync::Arc::<str>::from(hash));
    if let Some(format) = &export.format {
        detail = detail.with("format", text(format, 20));
    }
    if let Some(query) = &export.query {
        detail = detail.with("query", text(query, MAX_QUERY));
    }
    let counts = [("records", export.records), ("first_seq", export.first_seq), ("last_seq", export.last_seq)];
    Ok(counts.into_iter().fold(detail, |detail, (word, count)| match count {
        Some(count) => detail.with(word, count),
        None => detail,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_kept_and_cleaned() {
        let hash = "Ab".repeat(32);
        let read = |body: String| {
            let detail = detail(&body.into(), &Redactor::default());
            detail.map(|detail| serde_json::to_string(&detail).unwrap()).map_err(|error| error.to_string())
        };
        let low = hash.to_lowercase();
        assert_eq!(read(format!("{{\"sha256\":\"{hash}\"}}")), Ok(format!("{{\"sha256\":\"{low}\"}}")));
        let whole = format!(
            "{{\"last_seq\":9,\"first_seq\":3,\"records\":2,\"query\":\"host=4111111111111111\\n\",\"format\":\"{}\",\"sha256\":\"{hash}\"}}",
            "x".repeat(30)
        );
        let want = format!(
            "{{\"sha256\":\"{low}\",\"format\":\"{}…\",\"query\":\"host=[PAN:visa:16]\\\\u{{a}}\",\"records\":2,\"first_seq\":3,\"last_seq\":9}}",
            "x".repeat(17)
        );
        assert_eq!(read(whole), Ok(want));
        for (body, want) in [
            (String::new(), "not a description"),
            ("[]".into(), "not a description"),
            ("{}".into(), "not a description"),
            (format!("{{\"sha256\":\"{hash}\",\"secret-of-mine\":1}}"), "not a description"),
            (format!("{{\"sha256\":\"{hash}\",\"records\":-1}}"), "not a description"),
            (format!("{{\"sha256\":\"{}\"}}", "g".repeat(64)), "`sha256` is no SHA-256"),
            ("{\"sha256\":\"\"}".into(), "`sha256` is no SHA-256"),
        ] {
            let refused = read(body.clone()).unwrap_err();
            assert!(refused.starts_with(want) && !refused.contains("secret"), "{body}: {refused}");
        }
    }
}
