//! The addresses that this proxy listens on: no two may take each other's connections. The port of the probes.
//! Not here: the listeners (`listeners`), the admin port (`admin`), binding (`runtime::listeners`).
//! Source: the contract: `listeners`, `probes`, `admin`.

use std::net::SocketAddr;

use crate::address::canonical;
use crate::yaml::{Faults, Field, shown};

/// Addresses taken so far, with the lines where they were.
#[derive(Debug, Default)]
pub struct Bound(Vec<(SocketAddr, u32)>);

impl Bound {
    /// Takes `address`, unless another one would get its connections.
    fn take(&mut self, field: Field<'_>, address: SocketAddr, faults: &mut Faults) {
        match self.0.iter().find(|(taken, _)| overlap(*taken, address)) {
            Some((taken, line)) => {
                let message = format!("`{address}` is taken by `{taken}` in line {line}; write another port");
                field.fault(message, faults);
            }
            None => self.0.push((address, field.place().line)),
        }
    }
}

/// Port 0 is a free one each time. `0.0.0.0` and `[::]` are kept apart by their sockets.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || (any && a.is_ipv4() == b.is_ipv4()))
}

/// The port for probes and metrics.
pub fn probes(field: Field<'_>, bound: &mut Bound, faults: &mut Faults) -> Option<SocketAddr> {
    let mut map = field.map("`probes`", faults)?;
    let address = map.require("address", faults).and_then(|field| socket_address(field, bound, faults));
    map.finish(&[], faults);
    address
}

/// An address to listen on, which nobody else has taken.
pub fn socket_address(field: Field<'_>, bound: &mut Bound, faults: &mut Faults) -> Option<SocketAddr> {
    let text = field.text(faults)?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let example = "`0.0.0.0:3128` or `[::]:3128`";
        field.fault(format!("{} is no address; write `IP:PORT`, such as {example}", shown(text)), faults);
        return None;
    };
    let address = match canonical(address.ip()) {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    };
    bound.take(field, address, faults);
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_whose_connections() {
        for (a, b, want) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("[::1]:1", "[::]:1", true),
            ("0.0.0.0:1", "[::]:1", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let (one, other) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(overlap(one, other), want, "`{a}` and `{b}`");
            assert_eq!(overlap(other, one), want, "`{b}` and `{a}`");
        }
    }
}
