//! Pools: what can't be one, and what customers see of one.

use super::*;
use crate::config::tests::{LEAST, read, valid};

#[test]
fn sizes() {
    for (prefix, want) in [("192.0.2.1/32", 1), ("192.0.2.0/24", 256), ("2001:db8::/64", 1 << 64), ("::/0", u128::MAX)]
    {
        assert_eq!(size(&prefix.parse().unwrap()), want, "`{prefix}`");
    }
}

#[test]
fn pools_share_no_address() {
    let text = "egress:\n  pools:\n    a:\n      bind: [198.51.100.9/32, 198.51.100.64/30]\n    b:\n      bind: [198.51.100.8/29]\n      \
                public: [198.51.100.9/32]\n    c: {bind: [198.51.100.65/32, 198.51.100.65/32]}\n";
    let (_, faults) = read(&format!("{LEAST}{text}"));
    let want = [
        "f:8:14: `198.51.100.8/29` holds addresses of `198.51.100.9/32`, in line 6 for pool `a`; write each address once",
        "f:9:16: `198.51.100.9/32` holds addresses of `198.51.100.9/32`, in line 6 for pool `a`; write each address once",
        "f:10:16: `198.51.100.65/32` holds addresses of `198.51.100.64/30`, in line 6 for pool `a`; write each address once",
        "f:10:34: `198.51.100.65/32` holds addresses of `198.51.100.64/30`, in line 6 for pool `a`; write each address once",
    ];
    assert_eq!(faults, want);
}

#[test]
fn what_nobody_can_see_is_not_public() {
    for (public, column, want) in [
        ("[203.0.113.9/29]", 56, "host bits in `203.0.113.9/29`; write"),
        ("[127.0.0.8/29]", 56, "`127.0.0.8/29` is nothing that a customer can see; write"),
        ("[0.1.2.0/24]", 56, "`0.1.2.0/24` is nothing that a customer can see; write"),
        ("[169.254.0.0/16]", 56, "`169.254.0.0/16` is nothing that a customer can see; write"),
        ("[224.0.0.0/24]", 56, "`224.0.0.0/24` is nothing that a customer can see; write"),
        ("['fe80::/64']", 56, "`fe80::/64` is nothing that a customer can see; write"),
        ("['::1/128']", 56, "`::1/128` is nothing that a customer can see; write"),
        ("[203.0.0.0/8]", 56, "`203.0.0.0/8` is shorter than /16 (/32 for IPv6); write only"),
        ("[]", 55, "`public` is empty; write at least one prefix"),
    ] {
        let text = format!("egress: {{pools: {{a: {{bind: [198.51.100.8/32], public: {public}}}}}}}\n");
        let (_, faults) = read(&format!("{LEAST}{text}"));
        let want = format!("f:3:{column}: {want}");
        assert!(faults.len() == 1 && faults[0].starts_with(&want), "{public}: {faults:#?}");
    }
}

#[test]
fn customers_can_tell_pools_apart() {
    let bound = "a: {bind: [198.51.100.8/32]}";
    for (name, second, want) in [
        (
            "what one binds is what customers see of another",
            "{bind: [198.51.100.9/32], public: [198.51.100.8/32]}",
            true,
        ),
        ("the same behind a NAT", "{bind: [198.51.100.9/32], public: [203.0.113.9/32, 203.0.113.8/30]}", true),
        ("what is bound behind a NAT shows to nobody", "{bind: [203.0.113.64/32], public: [203.0.113.9/32]}", false),
        ("private lines", "{bind: [198.51.100.9/32], public: [10.1.2.0/24]}", false),
    ] {
        let nat = "c: {bind: [192.0.2.1/32], public: [203.0.113.64/30]}";
        let (_, faults) = read(&format!("{LEAST}egress:\n  pools:\n    {bound}\n    b: {second}\n    {nat}\n"));
        let found: Vec<bool> = faults.iter().map(|fault| fault.contains("write each address once")).collect();
        assert_eq!(found, vec![true; usize::from(want)], "{name}: {faults:#?}");
    }
}

#[test]
fn what_customers_see_of_a_pool() {
    for (bind, public, want) in [
        ("198.51.100.12/30, 198.51.100.8/31", "none", "198.51.100.8/31 198.51.100.12/30"),
        ("198.51.100.8/31, '2001:db8::8/125'", "[203.0.113.8/32]", "203.0.113.8/32 2001:db8::8/125"),
        ("198.51.100.8/31", "['2001:db8::/64']", "198.51.100.8/31 2001:db8::/64"),
        ("198.51.100.8/31, '2001:db8::8/125'", "['2001:db8:1::/64', 203.0.113.8/32]", "203.0.113.8/32 2001:db8:1::/64"),
    ] {
        let config = valid(&format!("{LEAST}egress: {{pools: {{a: {{bind: [{bind}], public: {public}}}}}}}\n"));
        let seen: Vec<String> = config.pools["a"].seen().iter().map(ToString::to_string).collect();
        assert_eq!(seen.join(" "), want, "{bind} behind {public}");
    }
}

#[test]
fn all_pools_together_are_bounded() {
    let pool = |n: u8| format!("p{n}: {{bind: [10.{n}.0.0/22]}}");
    let with = |pools: &[String]| read(&format!("{LEAST}egress: {{pools: {{{}}}}}\n", pools.join(", "))).1;
    assert_eq!(with(&[0, 1, 2, 3].map(pool)), Vec::<String>::new());
    let want = "f:3:17: the pools have 5120 addresses; write at most 4096 for all of them";
    assert_eq!(with(&[0, 1, 2, 3, 4].map(pool)), [want]);
}
