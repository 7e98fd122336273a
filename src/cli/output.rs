//! How results are printed. Source: clig.dev (results to stdout, words to stderr).

use clap::ValueEnum;
use serde::Serialize;

/// The form of a command's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Output {
    /// Prints `value`: as JSON, or as the text that `text` makes of it.
    pub fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        match self {
            Self::Text => println!("{}", text(value)),
            // Values printed here are our own plain structs; if one cannot be written, nothing is.
            Self::Json => println!("{}", serde_json::to_string(value).unwrap_or_default()),
        }
    }
}
