//! Reads everything again for a proxy that runs: whole, with every fault of every file, or not at all.
//! Not here: putting it in force (`server`), what of a configuration can change (`config`).
//! Source: the contract's "Reload".

use std::path::PathBuf;
use std::sync::Arc;

use super::{Environment, Inventory, LoadError, PolicySource, Reading, connections};
use crate::config::Config;
use crate::policy::Policy;
use crate::runtime::admin::access::{self, Access};
use crate::runtime::entrance::{self, Entrances};

/// What a running proxy was read from, and what is in force of it.
#[derive(Clone)]
pub struct Running {
    /// The configuration's file.
    pub path: PathBuf,
    /// What answers for `${NAME}` there.
    pub environment: Environment,
    /// The configuration in force.
    pub config: Config,
    /// Where the policy in force was read from. What it is checked against, pools, environment and listeners, stays
    /// as it was at the start; the profile is the stricter of that and the one in the file.
    pub source: PolicySource,
}

/// What can take the place of what is in force.
pub struct Again {
    /// What it was read from.
    pub running: Running,
    /// The policy.
    pub policy: Arc<Policy>,
    /// Who may use the admin port.
    pub access: Access,
    /// What the listeners' files hold.
    pub entrances: entrance::Reread,
    /// How many connections there may be.
    pub connections: usize,
    /// The keys whose new values wait for a restart.
    pub needs_restart: Vec<String>,
}

/// Which parts have faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faulty {
    /// `sallyport.yaml`.
    pub configuration: bool,
    /// The admin port's files.
    pub admin_files: bool,
    /// The listeners' files.
    pub listener_files: bool,
    /// The policy.
    pub policy: bool,
    /// The file of emergency blocks.
    pub blocks: bool,
}

/// What reading again gave.
pub struct Reread {
    /// All of it, or all that is wrong.
    pub read: Result<Box<Again>, LoadError>,
    /// Where the faults are.
    pub faulty: Faulty,
    /// What was read.
    pub inventory: Inventory,
}

impl Reread {
    /// The same with one more fault: what is wrong with the file of emergency blocks.
    #[must_use]
    pub fn with_faulty_blocks(self, line: String) -> Self {
        let read = match self.read {
            Ok(_) => LoadError::Faults(vec![line]),
            Err(LoadError::Faults(mut lines) | LoadError::Unreadable(mut lines)) => {
                lines.push(line);
                LoadError::Faults(lines)
            }
        };
        Self { read: Err(read), faulty: Faulty { blocks: true, ..self.faulty }, ..self }
    }
}

impl Running {
    /// Reads configuration, policy and all files that are named there. Where the configuration has faults, what it names is looked at
    /// nevertheless, so that all faults come at once.
    pub fn read(&self, entrances: &Entrances) -> Reread {
        let mut reading = Reading::default();
        let mut faulty = Faulty::default();
        let mut new = reading.config(&self.path, &self.environment, self.config.profile);
        if reading.files.is_empty() {
            // It could not be read; places of what it named are places there.
            reading.files.push(self.path.display().to_string());
        }
        new.iter_mut().for_each(|new| reading.trust_anchors(new));
        let profile = new.as_ref().map_or(self.config.profile, |new| new.profile);
        let follow = |new: &Config| self.config.followed_by(new);
        let (config, needs_restart) = new.as_ref().map_or_else(|| (self.config.clone(), Vec::new()), follow);
        let connections = connections(&config, &mut reading.faults);
        faulty.configuration = !reading.faults.is_empty();
        let mut found = reading.faults.len();
        let mut has_more =
            |reading: &Reading| std::mem::replace(&mut found, reading.faults.len()) < reading.faults.len();
        let access = access::read(&config.admin, &mut reading);
        faulty.admin_files = has_more(&reading);
        let files = entrances.read_again(&config.listeners, &mut reading);
        faulty.listener_files = has_more(&reading);
        reading.named = Some(config.policy.place);
        let source = self.source.at(&config.policy.value, [self.config.profile, profile]);
        let policy = source.read(&mut reading);
        faulty.policy = has_more(&reading);
        let inventory = std::mem::take(&mut reading.inventory);
        let read = match policy.filter(|_| reading.faults.is_empty()) {
            Some(policy) => {
                let running = Self { path: self.path.clone(), environment: self.environment, config, source };
                let (policy, entrances) = (Arc::new(policy), files);
                Ok(Box::new(Again { running, policy, access, entrances, connections, needs_restart }))
            }
            None => Err(reading.end()),
        };
        Reread { read, faulty, inventory }
    }
}
