//! Where programs are, and what version they say they have. Not here: installing them (`benches/setup.sh`).

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::subject::Kind;

/// Folders that may hold programs and are not in everybody's PATH.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Finds programs.
pub struct Programs {
    /// The product, if it is measured.
    pub sallyport: Option<PathBuf>,
    folders: Vec<PathBuf>,
}

/// The program behind a subject.
pub fn of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::FloorShared64k | Kind::FloorSplice | Kind::FloorCopy8k => None,
        Kind::SallyportAsync | Kind::SallyportSync => Some("sallyport"),
        Kind::Squid => Some("squid"),
        Kind::Envoy => Some("envoy"),
        Kind::Tinyproxy => Some("tinyproxy"),
    }
}

impl Programs {
    /// Looks into `first`, then where PATH says.
    pub fn new(sallyport: Option<PathBuf>, first: &Path, path: Option<&OsStr>) -> Self {
        let path = path.map(env::split_paths).into_iter().flatten();
        let folders = [first.to_owned()].into_iter().chain(path).chain(MORE_FOLDERS.map(PathBuf::from)).collect();
        Self { sallyport, folders }
    }

    /// The path of a program.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        if name == "sallyport" {
            return self.sallyport.clone().filter(|path| path.is_file());
        }
        self.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// The path of a program, as a word of a command.
    ///
    /// # Errors
    /// It is missing.
    pub fn path(&self, name: &str) -> Result<String> {
        let path = self.find(name).with_context(|| format!("`{name}` is missing"))?;
        let path = path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// What version a program says it has; `?` if it says none.
    pub fn version(&self, name: &str) -> String {
        let flag = match name {
            "sallyport" => "version",
            "envoy" => "--version",
            _ => "-v",
        };
        let said = self.path(name).ok().and_then(|path| Command::new(path).arg(flag).output().ok());
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        version_in(&said).unwrap_or_else(|| "?".to_owned())
    }
}

/// The first `1.2` or `1.2.3` of a text, that is no part of a path or of a longer word.
fn version_in(said: &str) -> Option<String> {
    let words = said.split(|c: char| c.is_whitespace() || c == '/' || c == ',');
    let is_version = |word: &&str| {
        let parts: Vec<&str> = word.split('.').collect();
        parts.len() > 1 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    words.map(|word| word.split_once('-').map_or(word, |(version, _)| version)).find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, want) in [
            ("sallyport 0.1.0", Some("0.1.0")),
            ("Squid Cache: Version 5.7\nService Name: squid", Some("5.7")),
            ("tinyproxy 1.11.1", Some("1.11.1")),
            ("/opt/envoy  version: 0123abc/1.40.0/Clean/RELEASE/BoringSSL", Some("1.40.0")),
            ("tinyproxy 1.11.2-rc1", Some("1.11.2")),
            ("no version 7", None),
            ("", None),
        ] {
            assert_eq!(version_in(said).as_deref(), want, "{said}");
        }
    }

    #[test]
    fn the_first_folder_that_has_it_counts() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (folder, name) in [(&first, "envoy"), (&second, "envoy"), (&second, "squid")] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let programs = Programs::new(None, first.path(), Some(second.path().as_os_str()));
        assert_eq!(programs.find("envoy"), Some(first.path().join("envoy")));
        assert_eq!(programs.find("squid"), Some(second.path().join("squid")));
        assert_eq!(programs.find("no-such-program"), None);
        assert_eq!(programs.find("sallyport"), None, "only by its path");
    }
}
