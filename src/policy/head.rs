//! Stage 0: does the head ask for a tunnel, and where to? Pure.
//! Not here: reading heads (`runtime::head`), whether the target may be reached (`request`).
//! Source: RFC 9110 section 9.3.6 (CONNECT), RFC 9112 sections 3.2 and 6 (request target, message body).

use super::decision::Denial;
use super::reason::Reason;
use crate::name::Target;

/// What of a head counts.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method; its case counts.
    pub method: &'a str,
    /// The request target as sent.
    pub target: &'a str,
    /// How many Host fields there are. None is well (many clients send none); one decides nothing; two are two requests in one.
    pub hosts: usize,
    /// Whether a body is announced: a CONNECT has none, and a length would hide bytes from whoever reads next.
    pub has_body: bool,
    /// Whether it asks for another protocol than a tunnel, by HTTP/2's extended CONNECT (RFC 8441).
    pub is_extended: bool,
}

impl RequestHead<'_> {
    /// The target of a CONNECT.
    ///
    /// # Errors
    /// `malformed_request`, `plaintext_http`, `method_not_allowed`, `malformed_target`.
    pub fn target(&self) -> Result<Target, Denial> {
        if self.hosts > 1 || (self.is_connect() && self.has_body) {
            return Err(Denial::new(Reason::MalformedRequest));
        }
        if self.is_extended {
            return Err(Denial::new(Reason::MethodNotAllowed));
        }
        if self.is_connect() {
            return self.target.parse().map_err(|_| Denial::new(Reason::MalformedTarget));
        }
        let scheme = self.target.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")) {
            return Err(Denial::new(Reason::PlaintextHttp));
        }
        Err(Denial::new(Reason::MethodNotAllowed))
    }

    /// Whether the method is CONNECT.
    pub fn is_connect(&self) -> bool {
        self.method == "CONNECT"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_a_connect_or_a_refusal() {
        for (name, method, target, hosts, has_body, want) in [
            ("connect", "CONNECT", "api.acme.example:443", 1, false, Ok("api.acme.example:443")),
            ("no host field", "CONNECT", "api.acme.example:443", 0, false, Ok("api.acme.example:443")),
            ("two host fields", "CONNECT", "api.acme.example:443", 2, false, Err(Reason::MalformedRequest)),
            ("two host fields on get", "GET", "http://api.acme.example/", 2, false, Err(Reason::MalformedRequest)),
            ("a body", "CONNECT", "api.acme.example:443", 1, true, Err(Reason::MalformedRequest)),
            ("no port", "CONNECT", "api.acme.example", 1, false, Err(Reason::MalformedTarget)),
            ("absolute form", "CONNECT", "http://api.acme.example:443/", 1, false, Err(Reason::MalformedTarget)),
            ("user info", "CONNECT", "u@api.acme.example:443", 1, false, Err(Reason::MalformedTarget)),
            ("lower case", "connect", "api.acme.example:443", 1, false, Err(Reason::MethodNotAllowed)),
            ("plaintext", "GET", "http://api.acme.example/", 1, false, Err(Reason::PlaintextHttp)),
            ("plaintext, odd case", "POST", "HTTP://api.acme.example/", 1, true, Err(Reason::PlaintextHttp)),
            ("https in the clear", "GET", "https://api.acme.example/", 1, false, Err(Reason::MethodNotAllowed)),
            ("origin form", "GET", "/", 1, false, Err(Reason::MethodNotAllowed)),
            ("options", "OPTIONS", "*", 1, false, Err(Reason::MethodNotAllowed)),
        ] {
            let head = RequestHead { method, target, hosts, has_body, is_extended: false };
            let got = head.target().map(|target| target.to_string()).map_err(|denial| denial.reason());
            assert_eq!(got, want.map(str::to_owned), "{name}");
        }
        let target = "api.acme.example:443";
        let head = RequestHead { method: "CONNECT", target, hosts: 1, has_body: false, is_extended: true };
        assert_eq!(head.target().unwrap_err().reason(), Reason::MethodNotAllowed, "extended");
    }
}
