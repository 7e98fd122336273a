//! What a proxy must have before it can serve: the log, what has gone out today, its sockets. Opened, or taken over.
//! Not here: serving with them (`server`), what the other process does meanwhile (`succession`).

use std::path::Path;
use std::sync::Arc;

use super::{Begins, StartError};
use crate::runtime::blocks::BlockBook;
use crate::runtime::budgets::Budgets;
use crate::runtime::journal::{self, Journal, Opening};
use crate::runtime::listeners::{Inherited, Sockets};
use crate::runtime::load::Loaded;
use crate::runtime::metrics::Metrics;
use crate::runtime::succession::Predecessor;
use crate::runtime::{clock, environment, events, profile, sys};

/// All of it.
pub(super) struct Had {
    pub(super) journal: Journal,
    pub(super) opening: Opening,
    pub(super) budgets: Budgets,
    pub(super) blocks: Arc<BlockBook>,
    pub(super) sockets: Sockets,
    /// Whom it was taken over from.
    pub(super) predecessor: Option<Predecessor>,
}

impl Had {
    pub(super) fn begin(begins: Begins, loaded: &Loaded, metrics: &Arc<Metrics>) -> Result<Self, StartError> {
        match begins {
            Begins::Anew(inherited) => Self::anew(inherited, loaded, metrics),
            Begins::After(predecessor) => match Self::after(&predecessor, loaded, metrics) {
                Ok(had) => Ok(Self { predecessor: Some(predecessor), ..had }),
                Err(error) => {
                    predecessor.refuse(&error.to_string());
                    Err(error)
                }
            },
        }
    }

    /// The log's lock comes first: a second proxy on the same log disturbs nobody.
    fn anew(mut inherited: Inherited, loaded: &Loaded, metrics: &Arc<Metrics>) -> Result<Self, StartError> {
        let Loaded { config, entrances, .. } = loaded;
        is_its_own(loaded)?;
        let (journal, opening) = Journal::open(events::journal_setup(config, metrics))?;
        environment::mark(config);
        let (budgets, blocks) = (budgets(loaded)?, blocks(loaded)?);
        let sockets = Sockets::bind(config, entrances, sys::workers(), &mut inherited)?;
        match inherited.left() {
            left if left.is_empty() => Ok(Self { journal, opening, budgets, blocks, sockets, predecessor: None }),
            left => Err(StartError::Unheard(left)),
        }
    }

    /// The log comes last, as the other process's records wait for it. Once it is open nothing can fail any more.
    fn after(predecessor: &Predecessor, loaded: &Loaded, metrics: &Arc<Metrics>) -> Result<Self, StartError> {
        let Loaded { config, entrances, .. } = loaded;
        is_its_own(loaded)?;
        let mut inherited = predecessor.sockets()?;
        let sockets = Sockets::bind(config, entrances, sys::workers(), &mut inherited)?;
        // What would be wrong with the key is told before the log changes hands.
        journal::check(
            Path::new(&config.decision_log.directory),
            Path::new(&config.decision_log.key),
            &config.instance,
        )?;
        let lock = predecessor.log()?;
        let (budgets, blocks) = (budgets(loaded)?, blocks(loaded)?);
        let (journal, opening) = Journal::open_inherited(events::journal_setup(config, metrics), lock)?;
        if let Err(error) = predecessor.taken() {
            // Its threads must have ended before the other process goes on with the log.
            journal.shutdown();
            return Err(error.into());
        }
        Ok(Self { journal, opening, budgets, blocks, sockets, predecessor: None })
    }
}

fn budgets(Loaded { config, policy, .. }: &Loaded) -> Result<Budgets, StartError> {
    Ok(Budgets::open((Path::new(&config.state), &config.instance), policy, clock::now())?)
}

/// What was blocked before; nothing may start while nobody knows.
fn blocks(Loaded { config, .. }: &Loaded) -> Result<Arc<BlockBook>, StartError> {
    let at = (Path::new(&config.state), config.instance.as_str());
    Ok(Arc::new(BlockBook::open(at, &config.redaction.redactor(), clock::now())?))
}

/// Before anything is written: whether log and state are this environment's, and the key is one that somebody made.
fn is_its_own(Loaded { config, .. }: &Loaded) -> Result<(), StartError> {
    profile::check(config)?;
    Ok(environment::check(config)?)
}
