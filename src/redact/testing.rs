//! How tests tell what a detector has found.

use super::kind::Hit;

/// Each find in `text`: its mark, and what it stands for.
pub(super) fn told(text: &str, hits: &[Hit<'_>]) -> Vec<String> {
    hits.iter().map(|hit| format!("{}{}", hit.kind, text.get(hit.start..hit.end).unwrap())).collect()
}
