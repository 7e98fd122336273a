//! The listener that a question of `explain` is about, and what its client could show there: the command line and the admin port say the
//! same of what does not go together.
//! Not here: the judgement (`policy::ask`). No text repeats what was asked. Source: the contract's `explain --listener --identity`.

use std::net::SocketAddr;

use crate::config::{ListenAddress, Listener, Mode};
use crate::name::Identity;
use crate::policy::{Certificate, Client, Origin, Wanted};

/// Who asks for what, as far as a question says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Where the client comes from.
    pub origin: Origin,
    /// What it shows.
    pub identity: Option<Identity>,
    /// The listener's name; `None`: the first that takes CONNECT and such a client.
    pub listener: Option<String>,
    /// What it asks for; at a transparent listener the address that it calls.
    pub target: String,
    /// How; `None`: CONNECT.
    pub method: Option<String>,
}

/// Why there is no such client: what is wrong, then what to write instead, in the words of a question's fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskingError {
    /// No listener has that name.
    #[error("no listener of that name; write one of {0}")]
    NoListener(String),
    /// All listeners are transparent, and there is no knowing which one is meant.
    #[error("no listener is `mode: connect`; name the listener")]
    NoDefault,
    /// An address, and the listener is a Unix socket.
    #[error("listener `{0}` is a Unix socket; write `user:UID` for the source")]
    AddressAtSocket(String),
    /// A user, and the listener has an address.
    #[error("listener `{0}` is no Unix socket; write an address for the source")]
    UserAtAddress(String),
    /// A load balancer's address, and it speaks for others.
    #[error(
        "listener `{0}` takes this address for a load balancer, which must send a PROXY header (`proxy_protocol`); write the address of \
         its client, which the header names, for the source"
    )]
    Balancer(String),
    /// A certificate's identity, and the listener asks for none.
    #[error("listener `{0}` asks for no client certificate; leave the identity out, or name another listener")]
    NoCertificates(String),
    /// A credential, and the listener takes none.
    #[error("listener `{0}` takes no credentials; leave the identity out, or name another listener")]
    NoCredentials(String),
    /// A captured client wants an address.
    #[error(
        "listener `{0}` is transparent; write `ADDRESS:PORT`, which the client called, for the target, and the name that it wants as SNI"
    )]
    NoAddress(String),
    /// A captured client sends no head.
    #[error("listener `{0}` is transparent, and its clients send no head; leave the method out")]
    Method(String),
}

impl Asking {
    /// The client, and how it says where it wants to go.
    ///
    /// # Errors
    /// What does not go together, for the listener that is named or the first that takes CONNECT.
    pub fn at(&self, listeners: &[Listener]) -> Result<(Client, Wanted), AskingError> {
        let listener = match &self.listener {
            Some(name) => self.fits(named(listeners, name)?)?,
            None => self.first(listeners)?,
        };
        let client = Client {
            identities: self.identity.iter().cloned().collect(),
            takes_credentials: listener.credentials.is_some(),
            certificate: self.certificate(listener),
            ..Client::new(self.origin)
        };
        let name = || listener.name.to_string();
        let wanted = match (listener.mode, &self.method) {
            (Mode::Connect, None) => Wanted::connect(&self.target),
            (Mode::Connect, Some(method)) => {
                Wanted::Asked { method: method.as_str().into(), target: self.target.as_str().into() }
            }
            (Mode::Transparent(_), Some(_)) => return Err(AskingError::Method(name())),
            (Mode::Transparent(_), None) => {
                let called = self.target.parse::<SocketAddr>().map_err(|_| AskingError::NoAddress(name()))?;
                Wanted::Called(called)
            }
        };
        Ok((client, wanted))
    }

    /// A credential goes with some good certificate, where one is required.
    fn certificate(&self, listener: &Listener) -> Certificate {
        match (listener.tls.as_ref().and_then(|tls| tls.client_auth.as_ref()), &self.identity) {
            (None, _) => Certificate::NotAsked,
            (Some(_), None) => Certificate::Missing,
            (Some(_), Some(_)) => Certificate::Shown,
        }
    }

    /// If no listener fits, what is wrong with the first that such a client could come to is said.
    fn first<'l>(&self, listeners: &'l [Listener]) -> Result<&'l Listener, AskingError> {
        let connect = || listeners.iter().filter(|listener| listener.mode == Mode::Connect);
        let open = || connect().filter(|listener| self.may_come(listener).is_ok());
        let found = open().find(|listener| self.may_show(listener).is_ok());
        let nearest = found.or_else(|| open().next()).or_else(|| connect().next());
        self.fits(nearest.ok_or(AskingError::NoDefault)?)
    }

    fn fits<'l>(&self, listener: &'l Listener) -> Result<&'l Listener, AskingError> {
        self.may_come(listener)?;
        self.may_show(listener)?;
        Ok(listener)
    }

    fn may_come(&self, listener: &Listener) -> Result<(), AskingError> {
        match (&listener.address, self.origin) {
            (ListenAddress::Unix(_), Origin::Address(_)) => {
                Err(AskingError::AddressAtSocket(listener.name.to_string()))
            }
            (ListenAddress::Tcp(_), Origin::User(_)) => Err(AskingError::UserAtAddress(listener.name.to_string())),
            (ListenAddress::Tcp(_), Origin::Address(address))
                if listener.proxy_protocol.iter().any(|from| from.contains(&address)) =>
            {
                Err(AskingError::Balancer(listener.name.to_string()))
            }
            (
                ListenAddress::Unix(_) | ListenAddress::Tcp(_),
                Origin::Address(_) | Origin::User(_) | Origin::Unknown,
            ) => Ok(()),
        }
    }

    fn may_show(&self, listener: &Listener) -> Result<(), AskingError> {
        let asks = listener.tls.as_ref().is_some_and(|tls| tls.client_auth.is_some());
        match &self.identity {
            Some(Identity::Credential(_)) if listener.credentials.is_none() => {
                Err(AskingError::NoCredentials(listener.name.to_string()))
            }
            Some(Identity::Spiffe(_) | Identity::Name(_)) if !asks => {
                Err(AskingError::NoCertificates(listener.name.to_string()))
            }
            Some(Identity::Spiffe(_) | Identity::Name(_) | Identity::Credential(_)) | None => Ok(()),
        }
    }
}

fn named<'l>(listeners: &'l [Listener], name: &str) -> Result<&'l Listener, AskingError> {
    let known = || listeners.iter().map(|listener| format!("`{}`", listener.name)).collect::<Vec<_>>().join(", ");
    listeners.iter().find(|listener| *listener.name == *name).ok_or_else(|| AskingError::NoListener(known()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::yaml::Faults;

    const LISTENERS: &str = "policy: p
listeners:
  - {name: nat, address: '0.0.0.0:1', mode: transparent}
  - {name: sock, address: 'unix:/s'}
  - {name: edge, address: '0.0.0.0:2'}
  - {name: mtls, address: '0.0.0.0:3', tls: {certificate: c, key: k, client_auth: required, client_ca: a}}
  - {name: users, address: '0.0.0.0:4', tls: {certificate: c, key: k}, credentials: u}
  - {name: balanced, address: '0.0.0.0:5', proxy_protocol: {from: [10.9.0.0/28]}}
";

    fn listeners(text: &str) -> Vec<Listener> {
        let mut faults = Faults::new();
        let config = config::load(text, 0, &|_| None, "a", &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        config.unwrap().listeners
    }

    fn asked(listeners: &[Listener], (origin, identity, listener): (&str, &str, &str), wish: (&str, &str)) -> String {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let identity = given(identity).map(|text| text.parse().unwrap());
        let (method, target) = (given(wish.0), wish.1.to_owned());
        let asking = Asking { origin: origin.parse().unwrap(), identity, listener: given(listener), target, method };
        match asking.at(listeners) {
            Ok((client, wanted)) => {
                let what = match wanted {
                    Wanted::Asked { method, target } => format!("{method} {target}"),
                    Wanted::Called(called) => format!("called {called}"),
                };
                format!("{client}, {what}{}", if client.takes_credentials { ", credentials" } else { "" })
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn who_can_come_where() {
        let all = listeners(LISTENERS);
        let connect = ("", "a.example:443");
        let called = ("", "192.0.2.1:443");
        for (row, who, wish, want) in [
            ("by default the first that fits", ("10.0.0.1", "", ""), connect, "10.0.0.1, CONNECT a.example:443"),
            ("a user", ("user:7", "", ""), connect, "user:7, CONNECT a.example:443"),
            ("a certificate", ("10.0.0.1", "a.example", ""), connect, "10.0.0.1, a.example, CONNECT a.example:443"),
            (
                "a credential",
                ("10.0.0.1", "login:a", ""),
                connect,
                "10.0.0.1, login:a, CONNECT a.example:443, credentials",
            ),
            (
                "none shown where they are taken",
                ("10.0.0.1", "", "users"),
                connect,
                "10.0.0.1, CONNECT a.example:443, credentials",
            ),
            ("another method", ("10.0.0.1", "", "edge"), ("GET", connect.1), "10.0.0.1, GET a.example:443"),
            ("captured", ("10.0.0.1", "", "nat"), called, "10.0.0.1, called 192.0.2.1:443"),
        ] {
            let found = asked(&all, who, wish);
            assert!(found.starts_with(want), "{row}: {found}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let all = listeners(LISTENERS);
        let (connect, called) = (("", "a.example:443"), ("", "192.0.2.1:443"));
        for (row, who, wish, want) in [
            (
                "no such listener",
                ("10.0.0.1", "", "x"),
                connect,
                "no listener of that name; write one of `nat`, `sock`, `edge`, `mtls`, `users`, `balanced`",
            ),
            (
                "an address at a socket",
                ("10.0.0.1", "", "sock"),
                connect,
                "listener `sock` is a Unix socket; write `user:UID`",
            ),
            (
                "a user at an address",
                ("user:7", "", "edge"),
                connect,
                "listener `edge` is no Unix socket; write an address",
            ),
            (
                "a load balancer",
                ("10.9.0.1", "", "balanced"),
                connect,
                "listener `balanced` takes this address for a load balancer, which must send a PROXY header",
            ),
            (
                "no certificates",
                ("10.0.0.1", "a.example", "users"),
                connect,
                "listener `users` asks for no client certificate; leave",
            ),
            ("no credentials", ("10.0.0.1", "login:a", "mtls"), connect, "listener `mtls` takes no credentials; leave"),
            (
                "a user with a certificate",
                ("user:7", "a.example", ""),
                connect,
                "listener `sock` asks for no client certificate",
            ),
            (
                "captured by name",
                ("10.0.0.1", "", "nat"),
                connect,
                "listener `nat` is transparent; write `ADDRESS:PORT`",
            ),
            (
                "captured, with a head",
                ("10.0.0.1", "", "nat"),
                ("CONNECT", called.1),
                "listener `nat` is transparent, and",
            ),
        ] {
            let found = asked(&all, who, wish);
            assert!(found.starts_with(want), "{row}: {found}");
        }
    }

    #[test]
    fn without_one_that_fits_the_nearest_is_told() {
        let all = listeners(LISTENERS);
        let first = |count: usize| asked(&all[..count], ("10.0.0.1", "login:a", ""), ("", "a.example:443"));
        assert_eq!(first(1), "no listener is `mode: connect`; name the listener");
        assert!(first(2).starts_with("listener `sock` is a Unix socket"), "{}", first(2));
        assert!(first(4).starts_with("listener `edge` takes no credentials"), "{}", first(4));
        assert!(first(5).starts_with("10.0.0.1, login:a"), "{}", first(5));
    }
}
