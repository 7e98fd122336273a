//! A log and a state folder belong to one environment: who starts on those of another one is refused, before anything is written.
//! Not here: environments of sources (`policy`). Source: PCI DSS 6.5.3 (pre-production is separated from production).

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::Config;
use crate::runtime::archive::{Archive, Opened};
use crate::runtime::whole_file::{folder_of, replace};
use crate::yaml::shown;

/// Bytes at the end of a segment in which its last whole record is sought: four times the longest line.
const MAX_TAIL: u64 = 64 * 1024;

/// Upper bound in bytes of the file: the longest name, and its line's end.
const MAX_FILE: u64 = 1024;

/// The log or the state is another environment's.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is of environment `{theirs}`, and the configuration says {}; write `environment: {theirs}`, or give this environment a `state` and a \
     `decision_log.directory` of its own", place.display(), told(ours.as_deref())
)]
pub struct EnvironmentError {
    /// The log's folder, or the state's file.
    place: PathBuf,
    /// What stands there.
    theirs: String,
    /// What the configuration says.
    ours: Option<String>,
}

fn told(environment: Option<&str>) -> String {
    environment.map_or("none".to_owned(), shown)
}

/// The file of an instance below `state`: several may share that.
fn file(config: &Config) -> PathBuf {
    Path::new(&config.state).join(format!("environment.{}", config.instance))
}

/// Whether log and state are of the environment that the configuration says, or of none yet. What is not there says nothing, and what
/// can't be read is told by who needs it. Writes nothing.
///
/// # Errors
/// They are of another one. One that was stated is never changed or left out; one may be given where there was none.
pub fn check(config: &Config) -> Result<(), EnvironmentError> {
    let log = Path::new(&config.decision_log.directory);
    let state = file(config);
    let found = [(log, of_log(log)), (&state, of_state(&state))];
    for (place, theirs) in found {
        let Some(theirs) = theirs.filter(|theirs| config.environment.as_ref() != Some(theirs)) else { continue };
        return Err(EnvironmentError { place: place.to_owned(), theirs, ours: config.environment.clone() });
    }
    Ok(())
}

/// Notes in the state whose it is from now on. The log's records say it too, so a state that takes nothing holds nobody up.
pub fn mark(config: &Config) {
    let path = file(config);
    let Some(environment) = config.environment.as_ref().filter(|_| of_state(&path).is_none()) else { return };
    let write = || {
        DirBuilder::new().recursive(true).mode(0o750).create(folder_of(&path))?;
        replace(&path, format!("{environment}\n").as_bytes())
    };
    if let Err(error) = write() {
        tracing::warn!(%error, "the state can't be marked with its environment; check `state` and its permissions");
    }
}

fn of_state(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text.trim_end().to_owned()).filter(|name| !name.is_empty())
}

#[derive(Deserialize)]
struct Record {
    environment: Option<String>,
}

/// The environment of the newest record that stands in a segment which is not sealed.
fn of_log(directory: &Path) -> Option<String> {
    fs::metadata(directory).ok()?;
    let archive = Archive::open(directory).ok()?;
    for segment in archive.segments().ok()?.into_iter().rev() {
        let Ok(Opened::Plain(file)) = archive.read(segment) else { return None };
        if let Some(record) = last(file).ok()? {
            return record.environment;
        }
    }
    None
}

/// The last whole record of a segment; none if it has none, or if a crash left more than a few lines of something else.
fn last(mut file: File) -> io::Result<Option<Record>> {
    let from = file.metadata()?.len().saturating_sub(MAX_TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(MAX_TAIL).read_to_end(&mut tail)?;
    let lines = tail.split(|byte| *byte == b'\n').rev();
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::yaml::Faults;

    fn config(folder: &Path, environment: Option<&str>) -> Config {
        let environment = environment.map_or(String::new(), |name| format!("environment: {name}\n"));
        let state = folder.join("state").display().to_string();
        let text = format!(
            "instance: edge-1\nstate: {state}\nlisteners: [{{name: a, address: '127.0.0.1:1'}}]\npolicy: p\n{environment}"
        );
        config::load(&text, 0, &|_| None, "a", &mut Faults::new()).unwrap()
    }

    fn segments(folder: &Path, files: &[(&str, &str)]) {
        let segments = folder.join("state/decisions/segments");
        fs::create_dir_all(&segments).unwrap();
        files.iter().for_each(|(name, text)| fs::write(segments.join(name), text).unwrap());
    }

    #[test]
    fn a_log_is_of_the_environment_of_its_newest_record() {
        let whole = |environment: &str| format!("{{\"v\":1,\"environment\":\"{environment}\"}}\n");
        let long = format!("{}{}", whole("test"), format!("{{\"x\":\"{}\"}}\n", "y".repeat(1000)).repeat(200));
        for (row, files, want) in [
            ("one record", vec![("000000000000.jsonl", whole("test"))], Some("test")),
            ("the last counts", vec![("000000000000.jsonl", whole("old") + &whole("test"))], Some("test")),
            ("torn behind it", vec![("000000000000.jsonl", whole("test") + "{\"v\":1,\"envir")], Some("test")),
            (
                "the newest segment is empty",
                vec![("000000000000.jsonl", whole("test")), ("000000000001.jsonl", String::new())],
                Some("test"),
            ),
            ("zeros behind it", vec![("000000000000.jsonl", whole("test") + &"\0".repeat(4096))], Some("test")),
            ("none stated", vec![("000000000000.jsonl", "{\"v\":1}\n".to_owned())], None),
            ("the newest states none", vec![("000000000000.jsonl", long + &whole("new"))], Some("new")),
            ("nothing", vec![], None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
            segments(folder.path(), &files);
            assert!(check(&config(folder.path(), want.or(Some("any")))).is_ok(), "{row}");
            let other = check(&config(folder.path(), Some("other"))).map_err(|error| error.to_string());
            let none = check(&config(folder.path(), None)).map_err(|error| error.to_string());
            let Some(want) = want else {
                assert_eq!((other, none), (Ok(()), Ok(())), "{row}");
                continue;
            };
            let told = format!(
                "state/decisions is of environment `{want}`, and the configuration says `other`; write `environment: {want}`, or"
            );
            assert!(other.as_ref().is_err_and(|error| error.contains(&told)), "{row}: {other:?}");
            assert!(none.as_ref().is_err_and(|error| error.contains("says none; write")), "{row}: {none:?}");
        }
    }

    #[test]
    fn a_state_is_of_the_environment_that_it_was_begun_in() {
        let folder = tempfile::tempdir().unwrap();
        let (production, test, none) = (
            config(folder.path(), Some("production")),
            config(folder.path(), Some("test")),
            config(folder.path(), None),
        );
        mark(&none);
        assert!(check(&test).is_ok(), "nothing was stated");
        mark(&production);
        mark(&test);
        assert!(check(&production).is_ok());
        for other in [&test, &none] {
            let error = check(other).unwrap_err().to_string();
            assert!(error.contains("state/environment.edge-1 is of environment `production`"), "{error}");
        }
        let neighbour = Config { instance: "edge-2".to_owned(), ..test.clone() };
        assert!(check(&neighbour).is_ok(), "each instance for itself");
    }
}
