//! Reads the cases that belong to a policy: every `*.cases.yaml` below its folder, or beside its file.
//! Not here: what they say and what comes of them (`policy`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::source::{MAX_DEPTH, MAX_FILES};
use super::{LoadError, PolicySource, Reading};
use crate::policy::{Case, Policy};

/// The end of the name of a file of cases.
pub(super) const ENDING: &str = ".cases.yaml";

/// A policy and the cases to try on it.
pub struct Suite {
    /// The policy.
    pub policy: Policy,
    /// The cases, in the order of their files.
    pub cases: Vec<Case>,
}

/// Several, and the files that their cases' places name.
pub struct Suites {
    /// One for each path.
    pub list: Vec<Suite>,
    /// Names of files by their index in places.
    pub files: Vec<String>,
}

/// Loads policies with their cases, without a configuration. A path is a policy's file or folder, or a file of cases, which is for the
/// policy of its folder.
///
/// # Errors
/// All faults of all files, with those that cannot be read.
pub fn suites(paths: &[PathBuf]) -> Result<Suites, LoadError> {
    let mut reading = Reading::default();
    let mut list = Vec::with_capacity(paths.len());
    for path in paths {
        let (source, own) = if is_cases(path) {
            (PolicySource::alone(opened(folder_of(path))), Some(path))
        } else {
            (PolicySource::alone(path), None)
        };
        let policy = source.read(&mut reading);
        let cases = match own {
            Some(path) => read(path, &mut reading),
            None => source.cases(&mut reading),
        };
        list.extend(policy.map(|policy| Suite { policy, cases }));
    }
    if reading.faults.is_empty() { Ok(Suites { list, files: reading.files }) } else { Err(reading.end()) }
}

impl PolicySource {
    /// Reads the policy's cases.
    pub(super) fn cases(&self, reading: &mut Reading) -> Vec<Case> {
        let mut found = Vec::new();
        match fs::metadata(&self.path) {
            Ok(meta) if meta.is_dir() => find(&self.path, MAX_DEPTH, &mut found, reading),
            Ok(_) => find(folder_of(&self.path), 0, &mut found, reading),
            // Told with the policy.
            Err(_) => {}
        }
        found.sort();
        found.iter().flat_map(|path| read(path, reading)).collect()
    }
}

/// Every `*.cases.yaml` in `folder` and in `deeper` levels of folders below it. Whoever looks for the policy looks there too, and says
/// what is wrong with folders below.
fn find(folder: &Path, deeper: usize, found: &mut Vec<PathBuf>, reading: &mut Reading) {
    let entries = match fs::read_dir(opened(folder)).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) if deeper == 0 => return reading.failed(folder, &error),
        Err(_) => return,
    };
    for path in entries.into_iter().map(|entry| folder.join(entry.file_name())) {
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_cases(&path) {
            found.push(path);
        } else if let Some(deeper) = deeper.checked_sub(1).filter(|_| !is_hidden && path.is_dir()) {
            find(&path, deeper, found, reading);
        }
        if found.len() > MAX_FILES {
            return reading.wrong(folder, &format!("more than {MAX_FILES} files of cases; put cases together"));
        }
    }
}

/// Nothing for a file in the working folder.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// A folder as the system wants it.
fn opened(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

fn is_cases(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(ENDING) && !name.starts_with('.')
}

fn read(path: &Path, reading: &mut Reading) -> Vec<Case> {
    let Some((index, text)) = reading.read(path) else { return Vec::new() };
    Case::read_all(&text, (index, &path.display().to_string()), &mut reading.faults)
}
