//! What to write instead, for the reader's own errors. Pure.
//! Not here: where the error is; the reader knows.
//! Source: the kinds of error of granit-parser.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

/// `what is wrong; what to write instead` for an error of the grammar.
pub fn message(error: &ScanError) -> String {
    let kind = error.kind();
    if matches!(kind, ErrorKind::RecursionLimitExceeded) {
        return format!("more than {} lists and mappings inside each other; write fewer", super::MAX_DEPTH);
    }
    if let ErrorKind::UnexpectedCharacter { character } = kind {
        let character = super::shown(&character.to_string());
        return format!("{character} cannot stand here; put a text that starts with it in single quotes");
    }
    format!("{}; {}", error.info().to_lowercase().replace('\'', "`"), advice(kind))
}

fn advice(kind: &ErrorKind) -> &'static str {
    use ErrorKind as K;
    if matches!(kind, K::TabNotAllowed | K::TabInBlockIndentation | K::TabInIndentation | K::TabAtBlockScalarStart) {
        "indent with spaces"
    } else if matches!(kind, K::DirectiveDisallowed) {
        "remove the line (a text that starts with `%` goes in quotes)"
    } else if matches!(
        kind,
        K::UnclosedQuotedScalar | K::DocumentIndicatorInQuotedScalar | K::InvalidQuotedScalarIndent
    ) {
        "close the quote, and indent what belongs to it"
    } else if matches!(
        kind,
        K::UnclosedFlowCollection { .. }
            | K::MismatchedFlowCollectionEnd { .. }
            | K::UnexpectedEofFlowSequence
            | K::UnexpectedEofFlowMapping
    ) {
        "close each `[` with `]` and each `{` with `}`"
    } else if matches!(kind, K::MissingAnchorOrAliasName | K::UnknownQuotedScalarEscape) {
        "put the text in single quotes"
    } else if matches!(kind, K::ExpectedTagBang | K::UndeclaredTagHandle | K::InvalidTagTerminator) {
        "remove the tag (a text that starts with `!` goes in quotes)"
    } else {
        "write `key: value` indented with spaces like its neighbours, close brackets, put texts with special characters in quotes"
    }
}
