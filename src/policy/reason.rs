//! Every reason a decision can have, and what follows from each: the one table of the product.
//! Not here: who finds which reason (`grep Reason::Name`). Nothing in a text repeats what a client sent.
//! Source: the contract's closed list of reasons; RFC 9110 (status), RFC 9209 (proxy errors), RFC 8446 section 6 (alerts).

use std::fmt;
use std::str::FromStr;

use super::decision::Outcome;
use crate::tls::AlertDescription;

/// What follows from a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The word in records, metrics and answers.
    pub word: &'static str,
    /// What kind of decision it is.
    pub outcome: Outcome,
    /// The HTTP status of an answer before the tunnel.
    pub status: u16,
    /// The fatal alert after the `200`.
    pub alert: AlertDescription,
    /// The error token of `Proxy-Status` (RFC 9209, section 2.3); empty for `allowed`.
    pub proxy_error: &'static str,
    /// A problem's `title` (RFC 9457): what happened.
    pub title: &'static str,
    /// A problem's `detail`: what the client or its owner can do.
    pub detail: &'static str,
}

/// Makes the enum and the exhaustive match from one row a reason:
/// name, word, outcome, status, alert, proxy error, title; detail.
macro_rules! reasons {
    ($($name:ident $word:literal $outcome:ident $status:literal $alert:ident $error:literal $title:literal; $detail:literal;)*) => {
        /// Why a decision came out as it did. Closed: words are added, never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = concat!("`", $word, "`: ", $title, ".")] $name,)*
        }

        impl Reason {
            /// All of them, in the contract's order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What follows from it.
            pub const fn facts(self) -> Facts {
                match self {
                    $(Self::$name => Facts {
                        word: $word, outcome: Outcome::$outcome, status: $status,
                        alert: AlertDescription::$alert, proxy_error: $error, title: $title, detail: $detail,
                    },)*
                }
            }
        }
    };
}

reasons! {
    Allowed "allowed" Allow 200 InternalError "" "the request is allowed"; "nothing to do";

    SourceUnknown "source_unknown" Deny 403 AccessDenied "http_request_denied"
        "the client belongs to no source"; "ask the proxy's owner to add the client's subnet to a source";
    EnvironmentMismatch "environment_mismatch" Deny 403 AccessDenied "http_request_denied"
        "the client belongs to another environment"; "use the proxy of the client's own environment";
    IdentityRequired "identity_required" Deny 403 AccessDenied "http_request_denied"
        "the client has not shown who it is"; "connect with the client's certificate";
    IdentityNotAllowed "identity_not_allowed" Deny 403 AccessDenied "http_request_denied"
        "what the client has shown is no identity of its source"; "use the certificate or credentials that were issued for this source";
    ClientCertificateInvalid "client_certificate_invalid" Deny 403 BadCertificate "http_request_denied"
        "the client's certificate is not valid"; "renew the certificate, or use one of the right authority";
    ClientCertificateRevoked "client_certificate_revoked" Deny 403 BadCertificate "http_request_denied"
        "the client's certificate is revoked"; "use a certificate that is in force";
    CredentialsMissing "credentials_missing" Deny 407 AccessDenied "http_request_denied"
        "credentials are required"; "send them in Proxy-Authorization";
    CredentialsWrong "credentials_wrong" Deny 403 AccessDenied "http_request_denied"
        "the credentials are wrong"; "check the credentials";
    ProxyProtocolRefused "proxy_protocol_refused" Deny 403 AccessDenied "http_request_denied"
        "the PROXY header is missing or not expected from here"; "check the load balancer in front of the proxy";

    MalformedRequest "malformed_request" Deny 400 DecodeError "http_request_error"
        "the request is not well-formed HTTP"; "send CONNECT host:port HTTP/1.1, an IPv6 address in brackets";
    HeadTimeout "head_timeout" Deny 403 AccessDenied "http_request_error"
        "the request's head did not arrive in time"; "send the whole head at once";
    PlaintextHttp "plaintext_http" Deny 403 AccessDenied "http_request_denied"
        "plaintext HTTP is not let out"; "use https, so that the client sends CONNECT";
    MethodNotAllowed "method_not_allowed" Deny 403 AccessDenied "http_request_denied"
        "the method is not CONNECT"; "use CONNECT: this proxy serves nothing else";
    MalformedTarget "malformed_target" Deny 400 DecodeError "http_request_error"
        "the target is not host:port"; "write an ASCII host name or an address, and a port of 1 to 65535";
    SensitiveDataInTarget "sensitive_data_in_target" Deny 403 AccessDenied "http_request_denied"
        "the target holds what looks like a card number"; "keep card numbers out of host names";

    DestinationDenied "destination_denied" Deny 403 AccessDenied "http_request_denied"
        "the destination is on the never list"; "no rule can allow it";
    DestinationNotListed "destination_not_listed" Deny 403 AccessDenied "http_request_denied"
        "no rule lets this source reach the destination"; "ask the proxy's owner for a rule";
    PortNotAllowed "port_not_allowed" Deny 403 AccessDenied "http_request_denied"
        "no rule lets this source reach this port of the destination"; "use a port that the rule has, or ask for a rule";
    RuleExpired "rule_expired" Deny 403 AccessDenied "http_request_denied"
        "the rule for the destination has expired"; "ask the rule's owner to renew it";
    OutsideHours "outside_hours" Deny 403 AccessDenied "http_request_denied"
        "the rule for the destination does not hold at this hour"; "try again within the rule's hours";

    Overloaded "overloaded" Deny 503 InternalError "connection_limit_reached"
        "the proxy serves as many connections as it may"; "try again later, or elsewhere";
    ConnectionLimit "connection_limit" Deny 429 AccessDenied "connection_limit_reached"
        "the source has as many connections as it may"; "close some, then try again";
    TunnelLimit "tunnel_limit" Deny 429 AccessDenied "connection_limit_reached"
        "the rule or its source has as many tunnels as it may"; "close some, then try again";
    RateLimited "rate_limited" Deny 429 AccessDenied "http_request_denied"
        "the rate of the rule or its source is used up"; "try again in a moment";
    ByteBudgetSpent "byte_budget_spent" Deny 429 AccessDenied "http_request_denied"
        "the bytes that the rule or its source has for today are used up"; "try again tomorrow (UTC), or ask for a larger budget";
    Draining "draining" Deny 503 InternalError "proxy_internal_response"
        "the proxy is shutting down"; "try again: another instance will answer";

    DnsFailure "dns_failure" Error 502 InternalError "dns_error"
        "the destination's name could not be resolved"; "check the name, then the proxy's resolvers";
    DnsTimeout "dns_timeout" Error 504 InternalError "dns_timeout"
        "resolving the destination's name took too long"; "try again; check the proxy's resolvers";
    DnssecBogus "dnssec_bogus" Error 502 InternalError "dns_error"
        "the destination's DNS answer failed DNSSEC validation"; "tell the destination's owner";
    AddressForbidden "address_forbidden" Deny 403 AccessDenied "destination_ip_prohibited"
        "the destination resolves to an address that must not be reached"; "tell the destination's owner, or ask for `addresses` in the rule";

    UpstreamRefused "upstream_refused" Error 502 InternalError "connection_refused"
        "the destination refused the connection"; "check whether the destination is up";
    UpstreamTimeout "upstream_timeout" Error 504 InternalError "connection_timeout"
        "the destination did not answer in time"; "check whether the destination lets the proxy's addresses in";
    UpstreamUnreachable "upstream_unreachable" Error 502 InternalError "destination_ip_unroutable"
        "the destination could not be reached"; "check the network between the proxy and the destination";
    EgressAddressUnavailable "egress_address_unavailable" Error 502 InternalError "proxy_internal_error"
        "no address of the egress pool could be used"; "tell the proxy's owner";
    EgressAddressMismatch "egress_address_mismatch" Error 502 InternalError "proxy_configuration_error"
        "the connection would have left from another address than the pool's"; "tell the proxy's owner";

    NotTls "not_tls" Deny 403 UnexpectedMessage "http_request_denied"
        "what the client sent is not TLS"; "only TLS is let out";
    HelloTimeout "hello_timeout" Deny 403 HandshakeFailure "http_request_denied"
        "a TLS hello did not arrive in time"; "send the client's right after the answer to CONNECT; check that the destination speaks TLS";
    HelloMalformed "hello_malformed" Deny 403 DecodeError "http_request_denied"
        "the client's TLS hello is not well-formed"; "update the client's TLS library";
    SniMissing "sni_missing" Deny 403 UnrecognizedName "http_request_denied"
        "the TLS hello names no server"; "let the client send SNI";
    SniMismatch "sni_mismatch" Deny 403 UnrecognizedName "http_request_denied"
        "the TLS hello names another server than the request"; "use one name for CONNECT and SNI";
    EchPresent "ech_present" Deny 403 AccessDenied "http_request_denied"
        "the TLS hello carries encrypted client hello"; "switch ECH off in the client";
    TlsVersionTooLow "tls_version_too_low" Deny 403 ProtocolVersion "http_request_denied"
        "the client's best TLS version is too low"; "let the client offer TLS 1.2 or 1.3";
    AlpnNotAllowed "alpn_not_allowed" Deny 403 NoApplicationProtocol "http_request_denied"
        "the client offers an application protocol that the rule does not list"; "offer h2 and http/1.1 alone, or ask for `alpn` in the rule";
    ServerNotTls "server_not_tls" Deny 403 UnexpectedMessage "tls_protocol_error"
        "the destination does not speak TLS"; "tell the destination's owner";
    ServerTlsVersionTooLow "server_tls_version_too_low" Deny 403 ProtocolVersion "tls_protocol_error"
        "the destination chose a TLS version that is too low"; "tell the destination's owner";
    ServerCipherWeak "server_cipher_weak" Deny 403 InsufficientSecurity "tls_protocol_error"
        "the destination chose a weak cipher suite"; "tell the destination's owner";
    SecondHelloMismatch "second_hello_mismatch" Deny 403 IllegalParameter "http_request_denied"
        "the client's second TLS hello differs from its first"; "update the client's TLS library";
    CertificateUntrusted "certificate_untrusted" Deny 403 BadCertificate "tls_certificate_error"
        "the destination's certificate is not trusted"; "tell the destination's owner";

    DecisionLogUnavailable "decision_log_unavailable" Error 503 InternalError "proxy_internal_error"
        "the decision log cannot be written"; "tell the proxy's owner: nothing is let out without a record";
    ClientGone "client_gone" Error 403 InternalError "http_request_error"
        "the client went away"; "wait longer for the answer";
    Internal "internal" Error 500 InternalError "proxy_internal_error"
        "the proxy failed"; "tell the proxy's owner the decision's id";

    HttpHostMismatch "http_host_mismatch" Deny 403 AccessDenied "http_request_denied"
        "the request inside the tunnel names another host"; "use one name for CONNECT, SNI and Host";
    HttpMethodNotAllowed "http_method_not_allowed" Deny 403 AccessDenied "http_request_denied"
        "the rule does not list the request's method"; "use a method that the rule lists";
    HttpPathNotAllowed "http_path_not_allowed" Deny 403 AccessDenied "http_request_denied"
        "the rule does not list the request's path"; "use a path that the rule lists";
    SensitiveDataNotAllowed "sensitive_data_not_allowed" Deny 403 AccessDenied "http_request_denied"
        "the request holds data that the rule does not let out"; "leave the data out";
    TestCardInProduction "test_card_in_production" Deny 403 AccessDenied "http_request_denied"
        "the request holds a test card number"; "keep test cards out of production";
}

impl Reason {
    /// Its word, as in records.
    pub const fn as_str(self) -> &'static str {
        self.facts().word
    }

    /// Whether report mode lets through what it refuses. Everything else is refused there too.
    pub const fn is_observable(self) -> bool {
        matches!(self, Self::DestinationNotListed | Self::PortNotAllowed | Self::RuleExpired | Self::OutsideHours)
    }

    /// What kind of decision it makes.
    pub const fn outcome(self) -> Outcome {
        self.facts().outcome
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is not a word of a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}; use one of the words that the manual lists")]
pub struct UnknownWord {
    /// Which list: `reason`, `outcome`, `ending`.
    pub what: &'static str,
}

impl FromStr for Reason {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().copied().find(|reason| reason.as_str() == text);
        found.ok_or(UnknownWord { what: "reason" })
    }
}

#[cfg(test)]
#[path = "reason_tests.rs"]
mod tests;
