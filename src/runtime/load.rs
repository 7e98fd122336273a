//! Reads `sallyport.yaml` and the policy files from disk, the same way for every command.
//! Not here: what they mean (`config`, `policy`). All faults of all files come at once.

mod again;
mod cases;
mod inventory;
mod paths;
mod source;
mod ways;

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Profile};
use crate::policy::{Case, Policy};
use crate::runtime::admin::access::{self, Access};
use crate::runtime::entrance::Entrances;
use crate::runtime::gate::MAX_REFUSALS;
use crate::runtime::lane::MAX_PIPES;
use crate::runtime::sys;
use crate::runtime::whole_file::{EVERYBODY_WRITES, open_regular};
use crate::yaml::{Fault, Faults, Place, decode};

pub use again::{Again, Faulty, Reread, Running};
pub use cases::{Suite, Suites, suites};
pub use inventory::Inventory;
pub use source::PolicySource;

/// Upper bound in bytes of one file: a policy of a million names is about 60 MiB.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Descriptors that are neither connections' nor pipes': listeners, log, admin port, name servers, dials beside the first.
const RESERVE_OTHER: usize = 192;

/// Descriptors that are not tunnels'.
fn reserve() -> u64 {
    let pipes = sys::workers().saturating_mul(MAX_PIPES).saturating_mul(2);
    u64::try_from(pipes.saturating_add(MAX_REFUSALS).saturating_add(RESERVE_OTHER)).unwrap_or(u64::MAX)
}

/// A checked configuration with its policy.
pub struct Loaded {
    /// The configuration, its paths made absolute or relative to the working folder.
    pub config: Config,
    /// The policy in force from now on.
    pub policy: Policy,
    /// Where the policy was read from, for a reload.
    pub source: PolicySource,
    /// Who may use the admin port.
    pub access: Access,
    /// The listeners' settings, with what their files hold.
    pub entrances: Entrances,
    /// How many connections there may be: as configured, or what the descriptor limit holds.
    pub connections: usize,
    /// The files that were read as texts: the configuration and what it names, but no keys, certificates and cases.
    pub files: Vec<String>,
    /// Where the configuration was read from.
    pub path: PathBuf,
    /// All files that were read, and what they held.
    pub inventory: Inventory,
}

/// What answers for `${NAME}` whenever the configuration is read again.
pub type Environment = fn(&str) -> Option<String>;

/// Why nothing could be loaded: every fault as `FILE:LINE:COLUMN: what is wrong; what to write instead`.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// What the files say is wrong; files that cannot be read are among it.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// Nothing is known to be wrong but that files cannot be read.
    #[error("{}", .0.join("\n"))]
    Unreadable(Vec<String>),
}

impl LoadError {
    /// The faults, one a line.
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Faults(lines) | Self::Unreadable(lines) => lines,
        }
    }
}

/// Files read so far, and all that is wrong with them.
#[derive(Default)]
pub(super) struct Reading {
    /// Names of files by their index in places.
    files: Vec<String>,
    pub(super) faults: Faults,
    /// How many of the faults are not what files say, but files that cannot be read and the like.
    unreadable: usize,
    /// Where what is being read is named: the place of faults of files and folders as a whole.
    pub(super) named: Option<Place>,
    /// What was read, and looked for in vain.
    inventory: Inventory,
}

impl Reading {
    /// Begun behind a file that was read before and names the others.
    #[cfg(test)]
    pub(super) fn behind(file: String) -> Self {
        Self { files: vec![file], ..Self::default() }
    }

    /// The text of a file and its index; what is no UTF-8 is a fault.
    fn read(&mut self, path: &Path) -> Option<(u32, String)> {
        let (bytes, _) = self.bytes(path)?;
        Some(self.text(path, bytes))
    }

    /// What a file holds, as a text with an index; what is no UTF-8 is a fault.
    pub(super) fn text(&mut self, path: &Path, bytes: Vec<u8>) -> (u32, String) {
        let index = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(path.display().to_string());
        (index, decode(bytes, index, &mut self.faults))
    }

    /// The same of a file by which `what` are made: whoever may write it could make some.
    pub(super) fn guarded(&mut self, path: &Path, what: &str) -> Option<(u32, String)> {
        let (bytes, mode) = self.bytes(path)?;
        if mode & EVERYBODY_WRITES != 0 {
            let message = format!("everybody may write it, and so make {what}; take that away with `chmod o-w`");
            self.wrong(path, &message);
        }
        Some(self.text(path, bytes))
    }

    /// What a file holds, and its mode.
    pub(super) fn bytes(&mut self, path: &Path) -> Option<(Vec<u8>, u32)> {
        let read = bytes(path);
        self.inventory.note(path, read.as_ref().ok().map(|(bytes, _)| bytes.as_slice()));
        match read {
            Ok(found) => Some(found),
            Err(error) => {
                self.failed(path, &error);
                None
            }
        }
    }

    /// The configuration, its paths made relative to its file. Valid only if there are no faults then.
    /// Under `profile: pci` it is judged if it says that, or `runs_under` does.
    fn config(
        &mut self,
        path: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
        runs_under: Profile,
    ) -> Option<Config> {
        let (index, text) = self.read(path)?;
        let mut config = config::load(&text, index, environment, &sys::host_name(), &mut self.faults)?;
        if (runs_under, config.profile) == (Profile::Pci, Profile::Standard) {
            config::judge_as_pci(&text, index, environment, &mut self.faults);
        }
        paths::anchor(&mut config, path.parent().unwrap_or(Path::new("")), &mut self.faults);
        Some(config)
    }

    /// All that the configuration names; `beside` reads what else belongs to the policy.
    fn load(
        &mut self,
        path: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
        beside: &mut dyn FnMut(&PolicySource, &mut Self),
    ) -> Option<Loaded> {
        let mut config = self.config(path, environment, Profile::Standard)?;
        self.trust_anchors(&mut config);
        paths::places(&config.listeners, &mut self.faults);
        let connections = connections(&config, &mut self.faults);
        let access = access::read(&config.admin, self);
        let entrances = Entrances::read(&config, self);
        self.named = Some(config.policy.place);
        let source = PolicySource::of(&config, &self.files);
        let policy = source.read(self);
        let (files, inventory) = (self.files.clone(), self.inventory.clone());
        beside(&source, self);
        let (policy, path) = (policy?, path.to_owned());
        Some(Loaded { config, policy, source, access, entrances, connections, files, path, inventory })
    }

    /// The keys that DNS answers are validated from.
    fn trust_anchors(&mut self, config: &mut Config) {
        let Some(validation) = &mut config.dns.validation else { return };
        let Some(file) = &validation.file else { return };
        self.named = Some(file.place);
        if let Some((index, text)) = self.read(Path::new(&file.value)) {
            validation.anchors = config::trust_anchors(&text, index, &mut self.faults);
        }
    }

    fn failed(&mut self, path: &Path, error: &io::Error) {
        self.unreadable = self.unreadable.saturating_add(1);
        self.wrong(path, &format!("{error}; check the path and its permissions"));
    }

    /// Something outside the files is wrong.
    pub(super) fn failed_outside(&mut self, message: &str) {
        self.unreadable = self.unreadable.saturating_add(1);
        self.faults.nowhere(message);
    }

    pub(super) fn wrong(&mut self, path: &Path, message: &str) {
        self.faults.push(Fault { place: self.named, message: format!("{}: {message}", path.display()) });
    }

    pub(super) fn end(self) -> LoadError {
        let lines = self.faults.iter().map(|fault| fault.line(&self.files)).collect();
        if self.unreadable == self.faults.len() { LoadError::Unreadable(lines) } else { LoadError::Faults(lines) }
    }
}

/// Loads the configuration alone, for what needs no policy and none of the files that it names.
///
/// # Errors
/// As [`load`].
pub fn settings(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, LoadError> {
    let mut reading = Reading::default();
    let config = reading.config(path, environment, Profile::Standard);
    config.filter(|_| reading.faults.is_empty()).ok_or_else(|| reading.end())
}

/// Loads configuration and policy. `environment` is asked for `${NAME}`.
///
/// # Errors
/// All faults of all files, with those that cannot be read.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, LoadError> {
    let mut reading = Reading::default();
    let loaded = reading.load(path, environment, &mut |_, _| {});
    loaded.filter(|_| reading.faults.is_empty()).ok_or_else(|| reading.end())
}

/// The same with the policy's cases, and the files that their places name.
///
/// # Errors
/// As [`load`]; faults of cases are among them.
pub fn load_with_cases(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Loaded, Vec<Case>, Vec<String>), LoadError> {
    let mut reading = Reading::default();
    let mut cases = Vec::new();
    let loaded = reading.load(path, environment, &mut |source, reading| cases = source.cases(reading));
    match loaded.filter(|_| reading.faults.is_empty()) {
        Some(loaded) => Ok((loaded, cases, reading.files)),
        None => Err(reading.end()),
    }
}

/// Loads policies, each a file or a folder, without a configuration: any pool is taken for one, environments are not compared.
///
/// # Errors
/// As [`load`].
pub fn policies<const N: usize>(paths: [&Path; N]) -> Result<[Policy; N], LoadError> {
    let mut reading = Reading::default();
    let read: Vec<Policy> = paths.into_iter().filter_map(|path| PolicySource::alone(path).read(&mut reading)).collect();
    read.try_into().map_err(|_| reading.end())
}

fn connections(config: &Config, faults: &mut Faults) -> usize {
    let most = sys::descriptor_limit().saturating_sub(reserve()) / 2;
    let limits = &config.limits;
    if limits.connections_given && limits.connections.value > most {
        faults.at(
            limits.connections.place,
            format!(
                "`connections: {}` needs two descriptors each and {} more, but the limit is {}; write at most {most}, or raise the limit \
                 (LimitNOFILE=)",
                limits.connections.value,
                reserve(),
                sys::descriptor_limit()
            ),
        );
    }
    usize::try_from(limits.connections.value.min(most)).unwrap_or(usize::MAX)
}

/// What a regular file holds, and its mode.
fn bytes(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let (mut file, meta) = open_regular(path)?;
    if meta.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MAX_FILE} bytes")));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, meta.mode()))
}
