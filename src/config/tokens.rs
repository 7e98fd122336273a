//! The tokens of the admin port: what the file says, who has which role, and whose a given token is.
//! Not here: the file itself, randomness, calls (`runtime::admin`, `cli`).
//! Source: RFC 6750 (bearer tokens); PCI DSS 8.2.2 (no shared ids), 8.3.2 (secrets are unreadable where they are kept).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{LABEL, MAX_LABEL, is_label, label};
use crate::yaml::{self, Faults, Field, MapReader};

/// Upper bound for the tokens of a file: each call is compared with all of them.
const MAX_TOKENS: usize = 1000;

/// How every token and every secret begins, so that people and scanners of secrets know one where they see it.
pub(super) const BEGIN: &str = "sallyport_";

/// What a token may do. Each role has what those before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Auditor,
    /// Reads and changes.
    Operator,
}

/// The roles by their words.
const ROLES: [(&str, Role); 2] = [("auditor", Role::Auditor), ("operator", Role::Operator)];

impl Role {
    /// Its word, as in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Operator => "operator",
        }
    }
}

/// One token as it is kept: its hash alone. A token has 256 random bits, so that no guess finds it and a plain SHA-256
/// does what slow, salted hashes do for passwords. Its text is its line in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is, for records.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    sha256: [u8; 32],
}

/// A name cannot be a token's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token's name has 1 to {MAX_LABEL} letters, digits, `.`, `_` and `-`; write one such as `{LABEL}`")]
pub struct TokenNameError;

impl Token {
    /// The token of these random bytes, and its text for who gets it.
    ///
    /// # Errors
    /// The name does not fit.
    pub fn new(name: &str, role: Role, random: &[u8; 32]) -> Result<(Self, String), TokenNameError> {
        if !is_label(name) {
            return Err(TokenNameError);
        }
        let text = format!("{BEGIN}{}", URL_SAFE_NO_PAD.encode(random));
        Ok((Self { name: name.into(), role, sha256: hash(&text) }, text))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some names would be numbers or words of YAML without quotes.
        write!(out, "{{name: \"{}\", role: {}, sha256: \"", self.name, self.role.as_str())?;
        self.sha256.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
        out.write_str("\"}")
    }
}

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Whose token it is. Looks at all of them, whichever it is: time tells nothing.
    pub fn find(&self, text: &str) -> Option<&Token> {
        let sha256 = hash(text);
        self.0.iter().fold(None, |found, token| match verify_slices_are_equal(&token.sha256, &sha256) {
            Ok(()) => Some(token),
            Err(_) => found,
        })
    }

    /// Their names and roles.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }
}

/// Reads the file of tokens; `file` is its index in places. Valid only if `faults` is still empty. No fault repeats what stands there.
pub fn tokens(text: &str, file: u32, faults: &mut Faults) -> Option<Tokens> {
    let mut own = Faults::of_secrets();
    let tokens = read(text, file, &mut own);
    faults.extend(own);
    tokens
}

fn read(text: &str, file: u32, faults: &mut Faults) -> Option<Tokens> {
    let root = yaml::parse(text, file, faults)?;
    let mut map = MapReader::new(&root, "the file of tokens", faults)?;
    let items = map.require("tokens", faults);
    map.finish(&[], faults);
    let items = items?;
    let mut tokens: Vec<Token> = Vec::new();
    for item in items.list(faults)?.take(MAX_TOKENS) {
        if let Some(token) = token(item, &tokens, faults) {
            tokens.push(token);
        }
    }
    match items.list(faults)?.len() {
        0 => items.fault("`tokens` is empty; add what `sallyport keys new token` prints", faults),
        1..=MAX_TOKENS => {}
        count => items.fault(format!("{count} tokens; write at most {MAX_TOKENS}"), faults),
    }
    Some(Tokens(tokens))
}

fn token(item: Field<'_>, before: &[Token], faults: &mut Faults) -> Option<Token> {
    let mut map = item.map("a token", faults)?;
    let name_field = map.require("name", faults);
    let name = name_field.and_then(|field| label(field, faults));
    let role = map.require("role", faults).and_then(|field| field.word(&ROLES, faults));
    let hash_field = map.require("sha256", faults);
    let sha256 = hash_field.and_then(|field| field.read(hash_of, faults));
    map.finish(&[], faults);
    let (name, sha256) = (name?, sha256?);
    if let Some(field) = name_field.filter(|_| before.iter().any(|token| *token.name == *name)) {
        field.fault("a second token of this name; write another one, so that records tell who called", faults);
    }
    if before.iter().any(|token| token.sha256 == sha256) {
        hash_field?.fault("the token of an entry above; make one for each", faults);
    }
    Some(Token { name: name.into(), role: role?, sha256 })
}

fn hash(text: &str) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    sha256
}

/// What stands as `sha256` is no hash. It may be the token itself, so it is not repeated.
#[derive(Debug, thiserror::Error)]
#[error("`sha256` is no SHA-256; write its 64 hexadecimal digits, as `sallyport keys new token` prints them")]
struct HashError;

fn hash_of(text: &str) -> Result<[u8; 32], HashError> {
    let mut sha256 = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(HashError);
    }
    for (index, byte) in sha256.iter_mut().enumerate() {
        let from = index.saturating_mul(2);
        let digits = text.get(from..from.saturating_add(2)).ok_or(HashError)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| HashError)?;
    }
    Ok(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::misplaced;

    fn read(text: &str) -> (Option<Tokens>, Vec<String>) {
        let mut faults = Faults::new();
        let tokens = tokens(text, 0, &mut faults);
        (tokens, faults.iter().map(|fault| fault.line(&["f"])).collect())
    }

    #[test]
    fn a_new_token_is_found_by_its_text_alone() {
        let (qsa, first) = Token::new("qsa-2026", Role::Auditor, &[1; 32]).unwrap();
        let (ops, second) = Token::new("7", Role::Operator, &[0xff; 32]).unwrap();
        assert_eq!(first, "sallyport_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
        assert_eq!((first.len(), second.len()), (BEGIN.len() + 43, BEGIN.len() + 43));
        let (tokens, faults) = read(&format!("tokens:\n  - {qsa}\n  - {ops}\n"));
        assert_eq!(faults, Vec::<String>::new(), "what is printed can be pasted, also a name made of digits");
        let tokens = tokens.unwrap();
        assert_eq!(tokens.find(&first), Some(&qsa));
        assert_eq!(tokens.find(&second), Some(&ops));
        let hashed = qsa.to_string().split('"').nth(3).unwrap().to_owned();
        for wrong in [
            "",
            BEGIN,
            first.get(1..).unwrap(),
            first.get(..52).unwrap(),
            &format!("{first} "),
            &first.to_lowercase(),
            &hashed,
        ] {
            assert_eq!(tokens.find(wrong), None, "`{wrong}`");
        }
        assert!(!format!("{qsa} {qsa:?}").contains(&first), "the token itself is not kept");
        assert_eq!(tokens.iter().count(), 2);
    }

    /// FIPS 180-4's example.
    #[test]
    fn the_hash_is_sha_256() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for hash in [abc.to_owned(), abc.to_uppercase()] {
            let (tokens, faults) = read(&format!("tokens: [{{name: a, role: auditor, sha256: \"{hash}\"}}]"));
            assert_eq!(faults, Vec::<String>::new());
            assert_eq!(&*tokens.unwrap().find("abc").unwrap().name, "a");
        }
    }

    #[test]
    fn roles_grow() {
        assert!(Role::Operator > Role::Auditor);
        assert!(ROLES.iter().all(|(word, role)| role.as_str() == *word));
    }

    #[test]
    fn names_that_do_not_fit() {
        for name in ["", "a b", "a+b", "a\n", "ä", "a\"b", "qsa-4111111111111111", &"a".repeat(MAX_LABEL + 1)] {
            assert_eq!(Token::new(name, Role::Auditor, &[0; 32]).unwrap_err(), TokenNameError, "`{name}`");
        }
    }

    #[test]
    fn faults_of_the_file() {
        let one = "0".repeat(64);
        let token = "sallyport_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        let rows = [
            (String::new(), "f:1:1: the file of tokens is empty; write its keys, one a line, as `key: value`".into()),
            ("token: []".into(), "f:1:1: unknown key `…`; did you mean `tokens`?".into()),
            ("tokens: []".into(), "f:1:9: `tokens` is empty; add what `sallyport keys new token` prints".into()),
            ("tokens: x".into(), "f:1:9: `tokens` is `…`; write a list, as `[…]` or a `- …` a line".into()),
            (format!("tokens: [{{role: auditor, sha256: \"{one}\"}}]"), "f:1:10: a token lacks `name`; add it".into()),
            (format!("tokens: [{{name: a, sha256: \"{one}\"}}]"), "f:1:10: a token lacks `role`; add it".into()),
            ("tokens: [{name: a, role: auditor}]".into(), "f:1:10: a token lacks `sha256`; add it".into()),
            (
                format!("tokens: [{{name: a, role: root, sha256: \"{one}\"}}]"),
                "f:1:26: `role` is `…`; write one of `auditor`, `operator`".into(),
            ),
            (
                format!("tokens: [{{name: a, role: auditor, sha256: {token}}}]"),
                "f:1:43: `sha256` is no SHA-256; write its 64 hexadecimal digits, as `sallyport keys new token` \
                 prints them"
                    .into(),
            ),
            (
                format!("tokens: [{{name: a, role: auditor, sha256: \"{}\"}}]", "é".repeat(32)),
                "f:1:43: `sha256` is no SHA-256; write its 64 hexadecimal digits, as `sallyport keys new token` \
                 prints them"
                    .into(),
            ),
            (
                format!("tokens: [{{name: a, role: auditor, sha256: \"{one}\", expires: never}}]"),
                "f:1:111: unknown key `…` in a token; remove it".into(),
            ),
        ];
        for digits in [0, 63, 65, 66] {
            let (_, faults) =
                read(&format!("tokens: [{{name: a, role: auditor, sha256: \"{}\"}}]", "0".repeat(digits)));
            assert_eq!(faults.len(), 1, "{digits} digits: {faults:?}");
        }
        for (text, want) in rows {
            let want: String = want;
            let (_, faults) = read(&text);
            assert!(faults.contains(&want), "`{text}`:\n  {faults:?}\n  {want}");
            assert!(!faults.iter().any(|fault| fault.contains(token)), "a fault repeats the token: {faults:?}");
        }
    }

    #[test]
    fn no_fault_repeats_what_stands_there() {
        misplaced::is_never_repeated("tokens", ("sha256", &"0".repeat(64)), &|text| read(text).1);
    }

    #[test]
    fn each_has_a_name_and_a_token_of_its_own() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let text = format!(
            "tokens:\n  - {{name: x, role: auditor, sha256: \"{a}\"}}\n  - {{name: x, role: auditor, sha256: \"{b}\"}}\n  \
             - {{name: y, role: operator, sha256: \"{}\"}}\n",
            a.to_uppercase()
        );
        let want = [
            "f:3:12: a second token of this name; write another one, so that records tell who called",
            "f:4:39: the token of an entry above; make one for each",
        ];
        assert_eq!(read(&text).1, want);
    }

    #[test]
    fn there_is_an_end_to_tokens() {
        let line = |n: usize| format!("  - {{name: t{n}, role: auditor, sha256: \"{n:064x}\"}}\n");
        let text = |count| format!("tokens:\n{}", (0..count).map(line).collect::<String>());
        assert_eq!(read(&text(MAX_TOKENS)).1, Vec::<String>::new());
        assert_eq!(read(&text(MAX_TOKENS + 1)).1, ["f:2:3: 1001 tokens; write at most 1000"]);
    }
}
