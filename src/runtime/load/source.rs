//! Where a policy is read from: its files in their order, and what they are checked against.
//! Not here: what they mean (`policy`), its cases (`cases`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Reading, cases, ways};
use crate::config::{Config, Profile};
use crate::policy::{Policy, PolicyFile, Setting, Ways};
use crate::runtime::clock;
use crate::yaml::{Faults, Place};

/// Upper bound of files in a policy folder.
pub(super) const MAX_FILES: usize = 10_000;

/// How many folders deep a policy may lie.
pub(super) const MAX_DEPTH: usize = 8;

/// Where a policy is read from, and what it is checked against.
#[derive(Debug, Clone)]
pub struct PolicySource {
    pub(super) path: PathBuf,
    environment: Option<String>,
    /// Whether what PCI DSS forbids is a fault.
    pci: bool,
    /// None: not known.
    pools: Option<Vec<String>>,
    /// None: not known.
    ways: Option<Ways>,
}

impl PolicySource {
    /// The policy of a configuration whose places are in `files`.
    pub(super) fn of(config: &Config, files: &[String]) -> Self {
        Self {
            path: PathBuf::from(&config.policy.value),
            environment: config.environment.clone(),
            pci: config.profile == Profile::Pci,
            pools: Some(config.pools.keys().cloned().collect()),
            ways: Some(ways::of(&config.listeners, files)),
        }
    }

    /// The same for a policy somewhere else, checked as the stricter of two profiles wants it.
    pub(super) fn at(&self, path: &str, profiles: [Profile; 2]) -> Self {
        Self { path: PathBuf::from(path), pci: profiles.contains(&Profile::Pci), ..self.clone() }
    }

    /// A policy without a configuration.
    pub(super) fn alone(path: &Path) -> Self {
        Self { path: path.to_owned(), environment: None, pci: false, pools: None, ways: None }
    }

    /// Reads the policy. Valid only if `reading` has no faults then.
    pub(super) fn read(&self, reading: &mut Reading) -> Option<Policy> {
        let (offset, before) = (reading.files.len(), reading.faults.len());
        reading.inventory.policy = Some(self.path.clone());
        let found = find(&self.path, reading);
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
}

/// The files of the policy at `path`, in their order.
pub(super) fn find(path: &Path, reading: &mut Reading) -> Vec<PathBuf> {
    let mut found = Vec::new();
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            collect(path, MAX_DEPTH, &mut found, reading);
            found.sort();
        }
        Ok(_) => found.push(path.to_owned()),
        Err(error) => reading.failed(path, &error),
    }
    found
}

/// Every `*.yaml` below `folder` but `*.cases.yaml`. Names that start with a dot are skipped: Kubernetes keeps its copies there.
fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>, reading: &mut Reading) {
    reading.inventory.folders.insert(folder.to_owned());
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
