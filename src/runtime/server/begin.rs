//! What a proxy must have before it can serve: the log, what has gone out today, its sockets. Opened, or taken over.
//! Not here: serving with them (`server`), what the other process does meanwhile (`succession`).

use std::path::Path;
use std::sync::Arc;

use super::{Begins, StartError};
use crate::runtime::budgets::Budgets;
use crate::runtime::journal::{Journal, Opening};
use crate::runtime::listeners::{Inherited, Sockets};
use crate::runtime::load::Loaded;
use crate::runtime::metrics::Metrics;
use crate::runtime::succession::Predecessor;
use crate::runtime::{clock, events, sys};

/// All of it.
pub(super) struct Had {
    pub(super) journal: Journal,
    pub(super) opening: Opening,
    pub(super) budgets: Budgets,
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
        let (journal, opening) = Journal::open(events::journal_setup(config, metrics))?;
        let budgets = budgets(loaded)?;
        let sockets = Sockets::bind(config, entrances, sys::workers(), &mut inherited)?;
        match inherited.left() {
            left if left.is_empty() => Ok(Self { journal, opening, budgets, sockets, predecessor: None }),
            left => Err(StartError::Unheard(left)),
        }
    }

    /// The log comes last, as the other process's records wait for it. Once it is open nothing can fail any more.
    fn after(predecessor: &Predecessor, loaded: &Loaded, metrics: &Arc<Metrics>) -> Result<Self, StartError> {
        let Loaded { config, entrances, .. } = loaded;
        let mut inherited = predecessor.sockets()?;
        let sockets = Sockets::bind(config, entrances, sys::workers(), &mut inherited)?;
        let lock = predecessor.log()?;
        let budgets = budgets(loaded)?;
        let (journal, opening) = Journal::open_inherited(events::journal_setup(config, metrics), lock)?;
        if let Err(error) = predecessor.taken() {
            // Its threads must have ended before the other process goes on with the log.
            journal.shutdown();
            return Err(error.into());
        }
        Ok(Self { journal, opening, budgets, sockets, predecessor: None })
    }
}

fn budgets(Loaded { config, policy, .. }: &Loaded) -> Result<Budgets, StartError> {
    Ok(Budgets::open((Path::new(&config.state), &config.instance), policy, clock::now())?)
}
