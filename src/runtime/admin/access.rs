//! Who may use the admin port: its certificate, and the tokens that open `/v1` and `/log`; read at the start and with each reload.
//! Not here: what the files may say (`config`, `key_pair`), which call needs which role (`route`).
//! Source: RFC 6750 (bearer tokens).

use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::config::{self, Admin, AdminTls, Role, Token, Tokens};
use crate::runtime::key_pair::KeyPair;
use crate::runtime::load::Reading;

/// Who may use the admin port.
#[derive(Clone, Default)]
pub struct Access {
    tls: Option<Tls>,
    tokens: Option<Tokens>,
}

/// What the admin port shows of itself, and until when.
#[derive(Clone)]
struct Tls {
    acceptor: TlsAcceptor,
    expires: Timestamp,
}

/// Why a call is refused before it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No tokens are configured.
    Closed,
    /// It has no token, or several.
    NoToken,
    /// Nobody's token.
    WrongToken,
    /// The token's role, whose name this is, is not enough.
    RoleTooSmall(Arc<str>),
}

impl Refused {
    /// Its word in records.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "no_tokens_configured",
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::RoleTooSmall(_) => "role_too_small",
        }
    }

    /// The status of its answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::Closed | Self::RoleTooSmall(_) => StatusCode::FORBIDDEN,
        }
    }
}

impl Access {
    /// The TLS of new connections, if there is any.
    pub fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref().map(|tls| &tls.acceptor)
    }

    /// When its certificate ends; that of whoever signed it does not count.
    pub fn expires(&self) -> Option<Timestamp> {
        self.tls.as_ref().map(|tls| tls.expires)
    }

    /// The tokens, if there are any.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Whose call it is, if its token has at least `role`.
    ///
    /// # Errors
    /// No token, a wrong one, or a role that is too small.
    pub fn caller(&self, headers: &HeaderMap, role: Role) -> Result<&Token, Refused> {
        let tokens = self.tokens.as_ref().ok_or(Refused::Closed)?;
        let token = tokens.find(bearer(headers).ok_or(Refused::NoToken)?).ok_or(Refused::WrongToken)?;
        if token.role < role { Err(Refused::RoleTooSmall(Arc::clone(&token.name))) } else { Ok(token) }
    }
}

/// The token of a request: of its one `Authorization` field, behind the scheme in any case (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' ')).filter(|token| !token.is_empty())
}

/// Reads the files that the configuration names. Valid only if `reading` has no faults then.
pub(in crate::runtime) fn read(files: &Admin, reading: &mut Reading) -> Access {
    let tls = files.tls.as_ref().and_then(|files| tls(files, reading));
    let tokens = files.tokens.as_ref().and_then(|file| {
        reading.named = Some(file.place);
        tokens(Path::new(&file.value), reading)
    });
    Access { tls, tokens }
}

fn tokens(path: &Path, reading: &mut Reading) -> Option<Tokens> {
    let (index, text) = reading.guarded(path, "tokens")?;
    config::tokens(&text, index, &mut reading.faults)
}

fn tls(files: &AdminTls, reading: &mut Reading) -> Option<Tls> {
    let pair = KeyPair::read(&files.certificate, &files.key, reading)?;
    let expires = pair.expires;
    let config = pair.server(WebPkiClientVerifier::no_client_auth(), &[b"http/1.1"]);
    Some(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), expires })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::yaml::Faults;

    fn access(tokens: &[&Token]) -> Access {
        let lines: String = tokens.iter().map(|token| format!("- {token}\n")).collect();
        let tokens = config::tokens(&format!("tokens:\n{lines}"), 0, &mut Faults::new());
        Access { tls: None, tokens }
    }

    #[test]
    fn a_token_opens_what_its_role_may_do() {
        let (auditor, reads) = Token::new("qsa", Role::Auditor, &[1; 32]).unwrap();
        let (operator, changes) = Token::new("ops", Role::Operator, &[2; 32]).unwrap();
        let access = access(&[&auditor, &operator]);
        let ask = |field: Option<&str>, role| {
            let mut headers = HeaderMap::new();
            if let Some(field) = field {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_str(field).unwrap());
            }
            access.caller(&headers, role).map(|token| token.name.to_string())
        };
        let (reads, changes) = (reads.as_str(), changes.as_str());
        for (field, role, want) in [
            (None, Role::Auditor, Err(Refused::NoToken)),
            (Some(String::new()), Role::Auditor, Err(Refused::NoToken)),
            (Some(reads.to_owned()), Role::Auditor, Err(Refused::NoToken)),
            (Some("Bearer ".to_owned()), Role::Auditor, Err(Refused::NoToken)),
            (Some(format!("Basic {reads}")), Role::Auditor, Err(Refused::NoToken)),
            (Some("Bearer x".to_owned()), Role::Auditor, Err(Refused::WrongToken)),
            (Some(format!("Bearer {reads}x")), Role::Auditor, Err(Refused::WrongToken)),
            (Some(format!("Bearer {reads} {changes}")), Role::Auditor, Err(Refused::WrongToken)),
            (Some(format!("Bearer {reads}")), Role::Auditor, Ok("qsa".to_owned())),
            (Some(format!("bEARER  {reads}")), Role::Auditor, Ok("qsa".to_owned())),
            (Some(format!("Bearer {reads}")), Role::Operator, Err(Refused::RoleTooSmall("qsa".into()))),
            (Some(format!("Bearer {changes}")), Role::Auditor, Ok("ops".to_owned())),
            (Some(format!("Bearer {changes}")), Role::Operator, Ok("ops".to_owned())),
        ] {
            assert_eq!(ask(field.as_deref(), role), want, "{field:?} for {role:?}");
        }
        let mut twice = HeaderMap::new();
        for token in [reads, changes] {
            twice.append(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        }
        assert_eq!(access.caller(&twice, Role::Auditor), Err(Refused::NoToken), "two tokens");
        assert_eq!(Access::default().caller(&twice, Role::Auditor), Err(Refused::Closed));
    }
}
