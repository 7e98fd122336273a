//! Reads `sallyport.yaml` and the policy files from disk, the same way for every command.
//! Not here: what they mean (`config`, `policy`). All faults of all files come at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::{self, Config};
use crate::policy::{Policy, PolicyFile, Setting};
use crate::runtime::sys;
use crate::yaml::{Faults, Place};

/// Upper bound in bytes of one file: a policy of a million names is about 60 MiB.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Upper bound of files in a policy folder.
const MAX_FILES: usize = 10_000;

/// How many folders deep a policy may lie.
const MAX_DEPTH: usize = 8;

/// Descriptors that are not tunnels': listeners, log, admin, name servers, pipes, and refusals beyond the limit.
const RESERVE: u64 = 768;

/// A checked configuration with its policy.
pub struct Loaded {
    /// The configuration, its paths made absolute or relative to the working folder.
    pub config: Config,
    /// The policy in force from now on.
    pub policy: Policy,
    /// Where the policy was read from, for a reload.
    pub source: PolicySource,
    /// How many connections there may be: as configured, or what the descriptor limit holds.
    pub connections: usize,
}

/// Where a policy is read from, and what it is checked against.
#[derive(Debug, Clone)]
pub struct PolicySource {
    path: PathBuf,
    environment: Option<String>,
    pools: Vec<String>,
}

/// Why nothing could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// What the files say is wrong: every fault as `FILE:LINE:COLUMN: what is wrong; what to write instead`.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// A file cannot be read.
    #[error("{}: {error}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Names of files by their index in places.
#[derive(Default)]
struct Files(Vec<String>);

impl Files {
    fn add(&mut self, path: &Path) -> u32 {
        let index = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push(path.display().to_string());
        index
    }

    fn faults(&self, faults: Faults) -> LoadError {
        LoadError::Faults(faults.iter().map(|fault| fault.line(&self.0)).collect())
    }
}

/// Loads configuration and policy. `environment` is asked for `${NAME}`.
///
/// # Errors
/// All faults of all files, or a file that cannot be read.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, LoadError> {
    let (mut files, mut faults) = (Files::default(), Faults::new());
    let text = read(path)?;
    let index = files.add(path);
    let Some(mut config) = config::load(&text, index, environment, &sys::host_name(), &mut faults) else {
        return Err(files.faults(faults));
    };
    let connections = connections(&config, &mut faults);
    let base = path.parent().unwrap_or(Path::new(""));
    anchor(&mut config, base);
    let source = PolicySource {
        path: PathBuf::from(&config.policy.value),
        environment: config.environment.clone(),
        pools: config.pools.keys().cloned().collect(),
    };
    match (source.read(&mut files, &mut faults)?, faults.is_empty()) {
        (Some(policy), true) => Ok(Loaded { config, policy, source, connections }),
        _ => Err(files.faults(faults)),
    }
}

impl PolicySource {
    /// Reads the policy again.
    ///
    /// # Errors
    /// As [`load`].
    pub fn reload(&self) -> Result<Policy, LoadError> {
        let (mut files, mut faults) = (Files::default(), Faults::new());
        match (self.read(&mut files, &mut faults)?, faults.is_empty()) {
            (Some(policy), true) => Ok(policy),
            _ => Err(files.faults(faults)),
        }
    }

    fn read(&self, files: &mut Files, faults: &mut Faults) -> Result<Option<Policy>, LoadError> {
        let mut found = Vec::new();
        if fs::metadata(&self.path).map_err(unreadable(&self.path))?.is_dir() {
            collect(&self.path, MAX_DEPTH, &mut found, faults)?;
            found.sort();
        } else {
            found.push(self.path.clone());
        }
        if found.is_empty() {
            faults.nowhere(format!("{}: no policy file; write one that ends in `.yaml`", self.path.display()));
            return Ok(None);
        }
        let offset = files.0.len();
        let mut policy_files = Vec::with_capacity(found.len());
        for path in &found {
            files.add(path);
            let name = path.strip_prefix(&self.path).ok().filter(|rest| !rest.as_os_str().is_empty());
            let name = name.or(path.file_name().map(Path::new)).unwrap_or(path);
            policy_files.push(PolicyFile { path: name.display().to_string(), text: read(path)? });
        }
        let pools: Vec<&str> = self.pools.iter().map(String::as_str).collect();
        let setting = Setting { environment: self.environment.as_deref(), pools: &pools };
        let mut own = Faults::new();
        let policy = Policy::load(&policy_files, &setting, &mut own);
        faults.extend(own.into_iter().map(|mut fault| {
            let shift = u32::try_from(offset).unwrap_or(u32::MAX);
            fault.place = fault.place.map(|place| Place { file: place.file.saturating_add(shift), ..place });
            fault
        }));
        Ok(policy)
    }
}

/// Every `*.yaml` below `folder` but `*.cases.yaml`. Names that start with a dot are skipped: Kubernetes keeps its copies there.
fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>, faults: &mut Faults) -> Result<(), LoadError> {
    let Some(deeper) = depth.checked_sub(1) else {
        faults.nowhere(format!("{}: more than {MAX_DEPTH} folders deep; put policy files higher up", folder.display()));
        return Ok(());
    };
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(".cases.yaml") {
            continue;
        }
        if fs::metadata(&path).map_err(unreadable(&path))?.is_dir() {
            collect(&path, deeper, found, faults)?;
        } else if name.ends_with(".yml") {
            faults.nowhere(format!("{}: `.yml` files are not read; name it `.yaml`", path.display()));
        } else if name.ends_with(".yaml") {
            found.push(path);
        }
        if found.len() > MAX_FILES {
            faults.nowhere(format!("{}: more than {MAX_FILES} policy files; put rules together", folder.display()));
            return Ok(());
        }
    }
    Ok(())
}

/// Makes the configuration's paths relative to its file.
fn anchor(config: &mut Config, base: &Path) {
    let log = &mut config.decision_log;
    for path in [&mut config.policy.value, &mut log.directory, &mut log.key] {
        *path = base.join(&*path).display().to_string();
    }
}

fn connections(config: &Config, faults: &mut Faults) -> usize {
    let most = sys::descriptor_limit().saturating_sub(RESERVE) / 2;
    let limits = &config.limits;
    if limits.connections_given && limits.connections.value > most {
        faults.at(
            limits.connections.place,
            format!(
                "`connections: {}` needs two descriptors each and {RESERVE} more, but the limit is {}; write at most {most}, or raise the limit \
                 (LimitNOFILE=)",
                limits.connections.value,
                sys::descriptor_limit()
            ),
        );
    }
    usize::try_from(limits.connections.value.min(most)).unwrap_or(usize::MAX)
}

fn read(path: &Path) -> Result<String, LoadError> {
    let meta = fs::metadata(path).map_err(unreadable(path))?;
    if !meta.is_file() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(LoadError::Unreadable { path: path.to_owned(), error });
    }
    if meta.len() > MAX_FILE {
        let error = io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MAX_FILE} bytes"));
        return Err(LoadError::Unreadable { path: path.to_owned(), error });
    }
    fs::read_to_string(path).map_err(unreadable(path))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> LoadError {
    let path = path.to_owned();
    move |error| LoadError::Unreadable { path, error }
}
