//! Reads `sallyport.yaml` and the policy files from disk, the same way for every command.
//! Not here: what they mean (`config`, `policy`). All faults of all files come at once.

mod cases;
mod paths;
mod ways;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Profile};
use crate::policy::{Case, Policy, PolicyFile, Setting, Ways};
use crate::runtime::admin::{Access, AccessSource};
use crate::runtime::clock;
use crate::runtime::entrance::Entrances;
use crate::runtime::gate::MAX_REFUSALS;
use crate::runtime::lane::MAX_PIPES;
use crate::runtime::sys;
use crate::yaml::{Fault, Faults, Place, decode};

pub use cases::{Suite, Suites, suites};

/// Upper bound in bytes of one file: a policy of a million names is about 60 MiB.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Mode bits with which everybody may write a file.
const EVERYBODY_WRITES: u32 = 0o002;

/// Upper bound of files in a policy folder.
const MAX_FILES: usize = 10_000;

/// How many folders deep a policy may lie.
const MAX_DEPTH: usize = 8;

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
    /// Where that was read from, for a reload.
    pub access_source: AccessSource,
    /// The listeners' settings, with what their files hold.
    pub entrances: Entrances,
    /// How many connections there may be: as configured, or what the descriptor limit holds.
    pub connections: usize,
    /// The files that were read as texts: the configuration and what it names, but no keys, certificates and cases.
    pub files: Vec<String>,
}

/// Where a policy is read from, and what it is checked against.
#[derive(Debug, Clone)]
pub struct PolicySource {
    path: PathBuf,
    environment: Option<String>,
    /// Whether what PCI DSS forbids is a fault.
    pci: bool,
    /// None: not known.
    pools: Option<Vec<String>>,
    /// None: not known.
    ways: Option<Ways>,
}

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
}

impl Reading {
    /// Begun behind a file that was read before and names the others.
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
        match bytes(path) {
            Ok(found) => Some(found),
            Err(error) => {
                self.failed(path, &error);
                None
            }
        }
    }

    /// The configuration, its paths made relative to its file. Valid only if there are no faults then.
    fn config(&mut self, path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Option<Config> {
        let (index, text) = self.read(path)?;
        let mut config = config::load(&text, index, environment, &sys::host_name(), &mut self.faults)?;
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
        let mut config = self.config(path, environment)?;
        self.trust_anchors(&mut config);
        paths::places(&config.listeners, &mut self.faults);
        let connections = connections(&config, &mut self.faults);
        let access_source = AccessSource::new(path, &config.admin);
        let access = access_source.read(self);
        let entrances = Entrances::read(path, &config, self);
        self.named = Some(config.policy.place);
        let source = PolicySource {
            path: PathBuf::from(&config.policy.value),
            environment: config.environment.clone(),
            pci: config.profile == Profile::Pci,
            pools: Some(config.pools.keys().cloned().collect()),
            ways: Some(ways::of(&config.listeners, &self.files)),
        };
        let policy = source.read(self);
        let files = self.files.clone();
        beside(&source, self);
        Some(Loaded { config, policy: policy?, source, access, access_source, entrances, connections, files })
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
    let config = reading.config(path, environment);
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

impl PolicySource {
    /// A policy without a configuration.
    fn alone(path: &Path) -> Self {
        Self { path: path.to_owned(), environment: None, pci: false, pools: None, ways: None }
    }

    /// Reads the policy again.
    ///
    /// # Errors
    /// As [`load`].
    pub fn reload(&self) -> Result<Policy, LoadError> {
        let mut reading = Reading::default();
        match (self.read(&mut reading), reading.faults.is_empty()) {
            (Some(policy), true) => Ok(policy),
            _ => Err(reading.end()),
        }
    }

    fn read(&self, reading: &mut Reading) -> Option<Policy> {
        let (offset, before) = (reading.files.len(), reading.faults.len());
        let found = self.find(reading);
        if found.is_empty() && reading.faults.len() == before {
            reading.wrong(&self.path, "no policy file; write one that ends in `.yaml`");
        }
        let mut partial = reading.faults.len() > before;
        let mut files = Vec::with_capacity(found.len());
        for path in &found {
            let Some((_, text)) = reading.read(path) else {
                partial = true;
                continue;
            };
            let name = path.strip_prefix(&self.path).ok().filter(|rest| !rest.as_os_str().is_empty());
            let name = name.or(path.file_name().map(Path::new)).unwrap_or(path);
            files.push(PolicyFile { path: name.display().to_string(), shown: path.display().to_string(), text });
        }
        if files.is_empty() {
            return None;
        }
        let pools: Vec<&str> = self.pools.iter().flatten().map(String::as_str).collect();
        let setting = Setting {
            environment: self.environment.as_deref(),
            pools: &pools,
            any_pool: self.pools.is_none(),
            partial,
            ways: self.ways.as_ref(),
            pci: self.pci,
            now: clock::now(),
        };
        let mut own = Faults::new();
        let policy = Policy::load(&files, &setting, &mut own);
        reading.faults.extend(own.into_iter().map(|mut fault| {
            let shift = u32::try_from(offset).unwrap_or(u32::MAX);
            fault.place = fault.place.map(|place| Place { file: place.file.saturating_add(shift), ..place });
            fault
        }));
        policy
    }

    /// The policy's files in their order.
    fn find(&self, reading: &mut Reading) -> Vec<PathBuf> {
        let mut found = Vec::new();
        match fs::metadata(&self.path) {
            Ok(meta) if meta.is_dir() => {
                collect(&self.path, MAX_DEPTH, &mut found, reading);
                found.sort();
            }
            Ok(_) => found.push(self.path.clone()),
            Err(error) => reading.failed(&self.path, &error),
        }
        found
    }
}

/// Every `*.yaml` below `folder` but `*.cases.yaml`. Names that start with a dot are skipped: Kubernetes keeps its copies there.
fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>, reading: &mut Reading) {
    let Some(deeper) = depth.checked_sub(1) else {
        return reading.wrong(folder, &format!("more than {MAX_DEPTH} folders deep; put policy files higher up"));
    };
    let entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => return reading.failed(folder, &error),
    };
    for path in entries.into_iter().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(cases::ENDING) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => collect(&path, deeper, found, reading),
            Ok(_) if name.ends_with(".yml") => reading.wrong(&path, "`.yml` files are not read; name it `.yaml`"),
            Ok(_) if name.ends_with(".yaml") => found.push(path),
            Ok(_) => {}
            Err(error) => reading.failed(&path, &error),
        }
        if found.len() > MAX_FILES {
            return reading.wrong(folder, &format!("more than {MAX_FILES} policy files; put rules together"));
        }
    }
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

/// What a regular file holds, and its mode; anything else could keep the reader waiting.
fn bytes(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if meta.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MAX_FILE} bytes")));
    }
    Ok((fs::read(path)?, meta.mode()))
}
