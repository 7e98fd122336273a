//! A listener's settings as its sessions use them, and the files behind them: read at the start and with each reload.
//! Not here: sockets (`listeners`), what certificates and credentials mean (`client_auth`), records of it (`events`).
//! Source: the contract: `listeners`, and "Reload": whole or not at all.

mod events;

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::address::PrefixSet;
use crate::config::{Config, Listener, Mode};
use crate::runtime::client_auth::{Checker, Credentials, ListenerTls, UnderWay, self_test};
use crate::runtime::clock;
use crate::runtime::load::Reading;
use crate::runtime::shared::Shared;

/// One listener's settings.
pub struct Entrance {
    /// Its name in records and metrics.
    pub name: Arc<str>,
    /// How clients come in.
    pub mode: Mode,
    /// Who must send a PROXY header; from all others it is refused.
    pub senders: PrefixSet,
    files: Listener,
    handshakes: Arc<UnderWay>,
    checker: Arc<Checker>,
    tls: ArcSwapOption<ListenerTls>,
    credentials: ArcSwapOption<Credentials>,
}

/// All listeners' settings, in the order of the configuration.
pub struct Entrances(Vec<Arc<Entrance>>);

/// What the files of all listeners hold, read again and not in force yet; in the order of the listeners.
pub struct Reread(Vec<Keys>);

/// What a listener's files hold.
struct Keys {
    tls: Option<Arc<ListenerTls>>,
    credentials: Option<Arc<Credentials>>,
}

impl Entrance {
    /// Its TLS, as it is in force; `None`: clients speak plain HTTP, or are captured.
    pub fn tls(&self) -> Option<Arc<ListenerTls>> {
        self.tls.load_full()
    }

    /// Whether nothing stands before a request's head.
    pub fn is_plain(&self) -> bool {
        self.files.is_plain()
    }

    /// The credentials that clients may show, as they are in force; `None`: none count.
    pub fn credentials(&self) -> Option<Arc<Credentials>> {
        self.credentials.load_full()
    }

    fn new(listener: &Listener, checker: &Arc<Checker>) -> Self {
        Self {
            name: Arc::clone(&listener.name),
            mode: listener.mode,
            senders: listener.proxy_protocol.iter().copied().collect(),
            files: listener.clone(),
            handshakes: Arc::default(),
            checker: Arc::clone(checker),
            tls: ArcSwapOption::empty(),
            credentials: ArcSwapOption::empty(),
        }
    }

    fn read(&self, files: &Listener, reading: &mut Reading) -> Keys {
        let tls = files.tls.as_ref();
        let tls = tls.and_then(|files| ListenerTls::read(files, &self.handshakes, clock::now(), reading));
        let credentials = files.credentials.as_ref();
        let before = self.credentials();
        let credentials =
            credentials.and_then(|file| Credentials::read(file, before.as_deref(), &self.checker, reading));
        Keys { tls: tls.map(Arc::new), credentials: credentials.map(Arc::new) }
    }

    /// Gives the credentials that were in force.
    fn set(&self, keys: Keys) -> Option<Arc<Credentials>> {
        self.tls.store(keys.tls);
        self.credentials.swap(keys.credentials)
    }
}

#[cfg(test)]
impl Entrance {
    /// One without anything in front of heads.
    pub(in crate::runtime) fn plain(name: &str) -> Arc<Self> {
        let listener = Listener {
            name: name.into(),
            place: crate::yaml::Place { file: 0, line: 1, column: 1 },
            address: crate::config::ListenAddress::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 0))),
            mode: Mode::Connect,
            tls: None,
            proxy_protocol: Box::default(),
            credentials: None,
        };
        Arc::new(Self::new(&listener, &Arc::default()))
    }
}

impl Entrances {
    /// Reads the files of all listeners of a configuration. Valid only if `reading` has no faults then.
    pub(in crate::runtime) fn read(config: &Config, reading: &mut Reading) -> Self {
        let checker = Arc::default();
        let entrance = |listener| Arc::new(Entrance::new(listener, &checker));
        let entrances = Self(config.listeners.iter().map(entrance).collect());
        entrances.follow(entrances.read_again(&config.listeners, reading));
        entrances
    }

    /// The listeners, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entrance>> {
        self.0.iter()
    }

    /// Tells what is in force from the start on.
    pub fn begin(&self, shared: &Shared) {
        self.iter().for_each(|entrance| events::in_force(shared, entrance, None));
    }

    /// Takes what was read again: for new handshakes, and for what is judged again.
    pub fn reloaded(&self, shared: &Shared, Reread(read): Reread) {
        for (entrance, keys) in self.iter().zip(read) {
            let before = entrance.set(keys);
            events::in_force(shared, entrance, before.as_deref());
        }
    }

    /// Takes what was read again, as another process has done and told.
    pub fn follow(&self, Reread(read): Reread) {
        for (entrance, keys) in self.iter().zip(read) {
            entrance.set(keys);
        }
    }

    /// Reads the files that these listeners name now, which are the same listeners in the same order; nothing is in force yet. Valid only if
    /// `reading` has no faults then.
    pub(in crate::runtime) fn read_again(&self, listeners: &[Listener], reading: &mut Reading) -> Reread {
        let revokes = |listener: &Listener| {
            let clients = listener.tls.as_ref().and_then(|tls| tls.client_auth.as_ref());
            clients.is_some_and(|clients| clients.crl.is_some())
        };
        if listeners.iter().any(revokes)
            && let Err(error) = self_test()
        {
            reading.failed_outside(&error.to_string());
        }
        Reread(self.iter().zip(listeners).map(|(entrance, files)| entrance.read(files, reading)).collect())
    }
}

#[cfg(test)]
mod tests;
