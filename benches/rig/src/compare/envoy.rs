//! Envoy as an egress proxy: a dynamic forward proxy for CONNECT, the allowlist a hash lookup on the authority, an access log.
//! Not here: starting it (`recipe`). Source: Envoy 1.40, API v3.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use crate::names::{FAKE_PORT, REAL_PORT};

/// Where all types of the API stand.
const API: &str = "type.googleapis.com/envoy.";

/// Circuit breakers refuse above 1,024 connections unless raised: nobody is to meet them here.
const NO_LIMIT: u32 = 1_000_000;

/// One line a tunnel.
const LOG_LINE: &str = "%START_TIME% %DOWNSTREAM_REMOTE_ADDRESS% %REQ(:METHOD)% %REQ(:AUTHORITY)% %RESPONSE_CODE% %RESPONSE_FLAGS% \
                        %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %UPSTREAM_HOST%\n";

/// The configuration, as JSON.
pub fn config(names: &[String], dns: Ipv4Addr, port: u16, log: &str) -> String {
    let cache = dns_cache(dns);
    let listener = json!({
        "name": "proxy",
        "address": address("127.0.0.1", port),
        "tcp_backlog_size": 4096,
        "filter_chains": [{"filters": [connection_manager(names, &cache, log)]}],
    });
    let cluster = "extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig";
    let cluster = json!({
        "name": "origins",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [
            {"max_connections": NO_LIMIT, "max_pending_requests": NO_LIMIT, "max_requests": NO_LIMIT}
        ]},
        "cluster_type": typed("envoy.clusters.dynamic_forward_proxy", cluster, json!({"dns_cache_config": cache})),
    });
    json!({"static_resources": {"listeners": [listener], "clusters": [cluster]}}).to_string()
}

/// An extension: its name, and its configuration with its type.
fn typed(name: &str, kind: &str, config: Value) -> Value {
    let mut typed = Map::from_iter([("@type".to_owned(), format!("{API}{kind}").into())]);
    if let Value::Object(fields) = config {
        typed.extend(fields);
    }
    json!({"name": name, "typed_config": typed})
}

fn address(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

fn dns_cache(dns: Ipv4Addr) -> Value {
    let resolver = "extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";
    let servers = json!({"resolvers": [address(&dns.to_string(), 53)]});
    json!({
        "name": "dns",
        "dns_lookup_family": "V4_ONLY",
        "max_hosts": 4096,
        "typed_dns_resolver_config": typed("envoy.network.dns_resolver.cares", resolver, servers),
    })
}

/// Denies what is not on the list.
fn allowlist_filter(names: &[String]) -> Value {
    let action = |name: &str| {
        let action = json!({"name": name, "action": name});
        json!({"action": typed(name, "config.rbac.v3.Action", action)})
    };
    let authorities = names.iter().flat_map(|name| [REAL_PORT, FAKE_PORT].map(|port| format!("{name}:{port}")));
    let allowed: Map<String, Value> = authorities.map(|authority| (authority, action("ALLOW"))).collect();
    let input = typed("authority", "type.matcher.v3.HttpRequestHeaderMatchInput", json!({"header_name": ":authority"}));
    let tree = json!({"input": input, "exact_match_map": {"map": allowed}});
    let matcher = json!({"matcher": {"matcher_tree": tree, "on_no_match": action("DENY")}});
    typed("envoy.filters.http.rbac", "extensions.filters.http.rbac.v3.RBAC", matcher)
}

fn connection_manager(names: &[String], cache: &Value, log: &str) -> Value {
    let forward = "extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig";
    let router = "extensions.filters.http.router.v3.Router";
    let route = json!({
        "match": {"connect_matcher": {}},
        "route": {
            "cluster": "origins",
            "timeout": "0s",
            "idle_timeout": "0s",
            "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
        },
    });
    let access_log = json!({"path": log, "log_format": {"text_format_source": {"inline_string": LOG_LINE}}});
    let manager = json!({
        "stat_prefix": "proxy",
        "codec_type": "HTTP1",
        "generate_request_id": false,
        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
        "access_log": [typed("file", "extensions.access_loggers.file.v3.FileAccessLog", access_log)],
        "http_filters": [
            allowlist_filter(names),
            typed("envoy.filters.http.dynamic_forward_proxy", forward, json!({"dns_cache_config": cache})),
            typed("envoy.filters.http.router", router, json!({"suppress_envoy_headers": true})),
        ],
        "route_config": {"name": "all", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    });
    let kind = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    typed("manager", kind, manager)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_every_name_with_both_ports_and_all_else_is_denied() {
        let names = ["a.test", "b.test"].map(str::to_owned);
        let config: Value = serde_json::from_str(&config(&names, Ipv4Addr::LOCALHOST, 1, "log")).unwrap();
        let filters = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
        let matcher = config.pointer(&format!("{filters}/0/typed_config/matcher")).unwrap();
        let allowed = matcher.pointer("/matcher_tree/exact_match_map/map").unwrap().as_object().unwrap();
        assert_eq!(allowed.keys().collect::<Vec<_>>(), ["a.test:8443", "a.test:8444", "b.test:8443", "b.test:8444"]);
        let otherwise = matcher.pointer("/on_no_match/action/typed_config/action");
        assert_eq!(otherwise, Some(&json!("DENY")));
    }
}
