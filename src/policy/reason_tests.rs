//! The table of reasons against the contract's lists, word for word.

use std::collections::HashSet;

use super::*;

/// The contract's section 6, in its order.
const WORDS: &str = "allowed \
    source_unknown environment_mismatch identity_required identity_not_allowed client_certificate_invalid \
    client_certificate_revoked credentials_missing credentials_wrong proxy_protocol_refused \
    malformed_request head_timeout plaintext_http method_not_allowed malformed_target sensitive_data_in_target \
    destination_denied destination_not_listed port_not_allowed rule_expired outside_hours \
    overloaded connection_limit tunnel_limit rate_limited byte_budget_spent draining \
    dns_failure dns_timeout dnssec_bogus address_forbidden \
    upstream_refused upstream_timeout upstream_unreachable egress_address_unavailable egress_address_mismatch \
    not_tls hello_timeout hello_malformed sni_missing sni_mismatch ech_present tls_version_too_low alpn_not_allowed \
    server_not_tls server_tls_version_too_low server_cipher_weak second_hello_mismatch certificate_untrusted \
    decision_log_unavailable client_gone internal \
    http_host_mismatch http_method_not_allowed http_path_not_allowed sensitive_data_not_allowed test_card_in_production";

#[test]
fn the_list_is_the_contracts() {
    let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words, WORDS.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn words_come_back() {
    for reason in Reason::ALL {
        assert_eq!(reason.to_string().parse(), Ok(*reason), "{reason}");
    }
    for word in ["", "Allowed", "allowed ", "denied"] {
        assert_eq!(word.parse::<Reason>(), Err(UnknownWord { what: "reason" }), "{word:?}");
    }
}

#[test]
fn the_status_is_the_contracts() {
    let listed = |word: &str| match word {
        "allowed" => 200,
        "credentials_missing" => 407,
        "connection_limit" | "tunnel_limit" | "rate_limited" | "byte_budget_spent" => 429,
        "internal" => 500,
        "dns_failure" | "dnssec_bogus" | "upstream_refused" | "upstream_unreachable" => 502,
        "overloaded" | "draining" | "decision_log_unavailable" => 503,
        "dns_timeout" | "upstream_timeout" => 504,
        word if word.starts_with("malformed_") => 400,
        word if word.starts_with("egress_") => 502,
        _ => 403,
    };
    for reason in Reason::ALL {
        assert_eq!(reason.facts().status, listed(reason.as_str()), "{reason}");
    }
}

#[test]
fn the_outcome_is_the_contracts() {
    for reason in Reason::ALL {
        let want = match (reason.as_str(), reason.facts().status) {
            ("allowed", _) => Outcome::Allow,
            ("decision_log_unavailable" | "client_gone", _) | (_, 500 | 502 | 504) => Outcome::Error,
            _ => Outcome::Deny,
        };
        assert_eq!(reason.outcome(), want, "{reason}");
    }
}

#[test]
fn proxy_errors_are_registered() {
    // RFC 9209, section 2.3; the IANA registry of proxy error types.
    let registered: HashSet<&str> = "dns_timeout dns_error destination_ip_prohibited destination_ip_unroutable \
        connection_refused connection_timeout connection_limit_reached tls_protocol_error tls_certificate_error \
        http_request_error http_request_denied proxy_internal_response proxy_internal_error proxy_configuration_error"
        .split_whitespace()
        .collect();
    for reason in Reason::ALL {
        let error = reason.facts().proxy_error;
        assert_eq!(registered.contains(error), *reason != Reason::Allowed, "{reason}: {error}");
    }
}

#[test]
fn texts_fit_a_line_and_a_reason_phrase() {
    for reason in Reason::ALL {
        let facts = reason.facts();
        for text in [facts.title, facts.detail] {
            let plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            assert!(!text.is_empty() && text.len() <= 100 && plain && !text.ends_with('.'), "{reason}: {text}");
        }
    }
}
