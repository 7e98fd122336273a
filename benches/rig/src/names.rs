//! The name plan that every part of the rig shares: `tN.customer.test` is served at 127.0.1.(N+1).
//! Not here: DNS. dnsmasq publishes the same for proxies that ask; floors and origin use these functions.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context, Result, bail};

/// Domain of all names that may be reached.
pub const DOMAIN: &str = "customer.test";

/// So many names are served, each with an address of its own.
pub const TARGETS: u8 = 16;

/// Port of real TLS.
pub const REAL_PORT: u16 = 8443;

/// Port of fake TLS (`wire`).
pub const FAKE_PORT: u16 = 8444;

/// Upper bound of names or addresses that one pattern stands for.
const MAX_RANGE: u32 = 10_000;

/// Where a CONNECT leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Target {
    /// `HOST:PORT`, as a request line has it.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// The address of target `number`.
pub fn address_of_target(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number.saturating_add(1))
}

/// The address of `tN.customer.test`.
///
/// # Errors
/// The name is not in the plan.
pub fn address_of(host: &str) -> Result<Ipv4Addr> {
    let number = host.strip_suffix(DOMAIN).and_then(|rest| rest.strip_suffix('.')?.strip_prefix('t')?.parse().ok());
    let number: u8 = number.filter(|number| *number < 250).with_context(|| format!("`{host}` is not in the plan"))?;
    Ok(address_of_target(number))
}

/// `t{0..15}.customer.test:8443` as 16 targets; without braces one.
///
/// # Errors
/// It isn't `NAME:PORT`, or its range is empty or too long.
pub fn targets(pattern: &str) -> Result<Vec<Target>> {
    let (host, port) = pattern.rsplit_once(':').with_context(|| format!("`{pattern}` is not NAME:PORT"))?;
    let port = port.parse().with_context(|| format!("`{port}` is not a port"))?;
    let Some((head, rest)) = host.split_once('{') else {
        return Ok(vec![Target { host: host.to_owned(), port }]);
    };
    let (range, tail) = rest.split_once('}').with_context(|| format!("`{pattern}` lacks `}}`"))?;
    let (first, last) = range.split_once("..").with_context(|| format!("`{range}` is not FIRST..LAST"))?;
    let (first, last): (u32, u32) = (first.parse()?, last.parse()?);
    if last.checked_sub(first).is_none_or(|length| length > MAX_RANGE) {
        bail!("`{range}` is not usable: write FIRST..LAST, at most {MAX_RANGE} names");
    }
    Ok((first..=last).map(|number| Target { host: format!("{head}{number}{tail}"), port }).collect())
}

/// `127.0.1.1-16:8443` as 16 addresses; without a range one.
///
/// # Errors
/// It isn't `ADDRESS:PORT`, its range is empty, or it isn't on loopback.
pub fn addresses(pattern: &str) -> Result<Vec<SocketAddr>> {
    let (host, port) = pattern.rsplit_once(':').with_context(|| format!("`{pattern}` is not ADDRESS:PORT"))?;
    let port = port.parse().with_context(|| format!("`{port}` is not a port"))?;
    let (first, last) = host.split_once('-').map_or((host, None), |(first, last)| (first, Some(last)));
    let first: Ipv4Addr = first.parse().with_context(|| format!("`{first}` is not an IPv4 address"))?;
    let [a, b, c, from] = first.octets();
    let to = last.map_or(Ok(from), str::parse).with_context(|| format!("`{host}` is not FIRST-LAST"))?;
    if !first.is_loopback() || to < from {
        bail!("`{host}` is not usable: write addresses in 127.0.0.0/8, the lower number first");
    }
    Ok((from..=to).map(|last| SocketAddrV4::new(Ipv4Addr::new(a, b, c, last), port).into()).collect())
}

/// `count` names, the targets in their middle: an allowlist of that length.
pub fn allowlist(count: usize) -> Vec<String> {
    let others = count.saturating_sub(usize::from(TARGETS));
    let other = |number: usize| format!("svc{number}.{DOMAIN}");
    let targets = (0..TARGETS).map(|number| format!("t{number}.{DOMAIN}"));
    (0..others / 2).map(other).chain(targets).chain((others / 2..others).map(other)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_has_loopback_addresses_only() {
        for (host, want) in [
            ("t0.customer.test", Some(Ipv4Addr::new(127, 0, 1, 1))),
            ("t15.customer.test", Some(Ipv4Addr::new(127, 0, 1, 16))),
            ("t250.customer.test", None),
            ("t1customer.test", None),
            ("10.0.0.1", None),
            ("www.example.com", None),
        ] {
            assert_eq!(address_of(host).ok(), want, "{host}");
        }
    }

    #[test]
    fn patterns_stand_for_names_and_addresses() {
        for (pattern, want) in [
            ("t{0..3}.customer.test:1", Some((4, "t3.customer.test:1"))),
            ("one.test:2", Some((1, "one.test:2"))),
            ("t{3..0}.customer.test:1", None),
            ("t{0..10001}.customer.test:1", None),
            ("t{0..3.customer.test:1", None),
            ("one.test", None),
        ] {
            let found = targets(pattern).ok();
            let found = found.as_ref().map(|all| (all.len(), all[all.len() - 1].authority()));
            assert_eq!(found, want.map(|(count, last)| (count, last.to_owned())), "{pattern}");
        }
        for (pattern, want) in [
            ("127.0.1.1-16:99", Some((16, "127.0.1.16:99"))),
            ("127.0.1.7:99", Some((1, "127.0.1.7:99"))),
            ("127.0.1.9-2:99", None),
            ("10.0.0.1-3:99", None),
            ("127.0.1.1", None),
        ] {
            let found = addresses(pattern).ok().map(|all| (all.len(), all[all.len() - 1].to_string()));
            assert_eq!(found, want.map(|(count, last)| (count, last.to_owned())), "{pattern}");
        }
    }

    #[test]
    fn an_allowlist_has_its_length_and_the_targets_in_its_middle() {
        for count in [16, 1_000, 1_001] {
            let names = allowlist(count);
            let place = names.iter().position(|name| name == "t0.customer.test").unwrap();
            assert_eq!((names.len(), place), (count, (count - 16) / 2), "{count} names");
        }
        assert!(allowlist(0).contains(&"t15.customer.test".to_owned()), "targets are always listed");
    }
}
