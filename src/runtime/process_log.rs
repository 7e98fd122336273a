//! The process's own log: a line an event on stderr, every text of which has passed `redact`; and panics, told by place alone.
//! Not here: decisions, which have a log of their own (`journal`); which events are written (`cli::run`).
//! Source: PCI DSS 3.3.1, 3.5.1 (logs and what a fault of the program prints hold no card data).

use std::fmt::{self, Debug, Write};
use std::io;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::redact::{Redacted, Redactor};
use crate::runtime::clock;

/// Upper bound in bytes of one text in a line; errors are a few hundred.
const MAX_TEXT: usize = 4 * 1024;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes the events that it is given. What they say reaches a line as [`Redacted`] alone, whoever said it.
pub struct ProcessLog {
    redactor: Redactor,
    form: Form,
    write: Box<dyn Fn(&str) + Send + Sync>,
}

impl ProcessLog {
    /// One that hands whole lines to `write`, which must neither panic nor log.
    pub fn new(redactor: Redactor, form: Form, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { redactor, form, write: Box::new(write) }
    }
}

impl<S: Subscriber> Layer<S> for ProcessLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said { redactor: &self.redactor, values: Vec::new() };
        event.record(&mut said);
        let line = Line {
            timestamp: clock::now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            fields: Fields(said.values),
        };
        (self.write)(&match self.form {
            Form::Text => format!("{line}\n"),
            // A line is made of texts and numbers, which can all be written.
            Form::Json => serde_json::to_string(&line).unwrap_or_default() + "\n",
        });
    }
}

/// Lets a panic say where it came from and not what it says: a message may hold what a peer sent.
/// Before there is a process log, as in commands, the place goes to stderr as it is.
pub fn tell_panics_by_place() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if tracing::enabled!(Level::ERROR) {
            tracing::error!(place, "a fault of the program");
        } else {
            // There is nowhere left to say that it failed.
            let _ = io::Write::write_all(&mut io::stderr(), format!("{place}: a fault of the program\n").as_bytes());
        }
    }));
}

/// One line, in the order in which it is written.
#[derive(Serialize)]
struct Line {
    #[serde(serialize_with = "time")]
    timestamp: Timestamp,
    #[serde(serialize_with = "shown")]
    level: Level,
    fields: Fields,
    target: &'static str,
}

/// What an event says, by name; `message` is its text.
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    const MESSAGE: &str = "message";
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} {:>5} {}:", self.timestamp, self.level, self.target)?;
        for (name, value) in &self.fields.0 {
            match value.as_str().filter(|_| *name == Fields::MESSAGE) {
                Some(text) => write!(f, " {text}")?,
                None => write!(f, " {name}={value}")?,
            }
        }
        Ok(())
    }
}

fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

fn shown<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(level)
}

/// Takes what an event says, each text through the redactor.
struct Said<'r> {
    redactor: &'r Redactor,
    values: Vec<(&'static str, Value)>,
}

impl Said<'_> {
    fn text(&mut self, field: &Field, text: &str) {
        let clean: Redacted = self.redactor.clean(text.as_bytes(), MAX_TEXT).text;
        self.values.push((field.name(), Value::from(clean.as_str())));
    }
}

impl Visit for Said<'_> {
    fn record_str(&mut self, field: &Field, text: &str) {
        self.text(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a `String` cannot fail; a value that cannot be shown is left as far as it came.
        let _ = write!(text, "{value:?}");
        self.text(field, &text);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.values.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.values.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.values.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.values.push((field.name(), value.into()));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const CARD: &str = "4111111111111111";

    /// What is written while `tell` runs.
    fn written(form: Form, tell: impl FnOnce()) -> String {
        let lines: Arc<Mutex<String>> = Arc::default();
        let kept = Arc::clone(&lines);
        let redactor = Redactor::new(&["account".parse().unwrap()], &[]);
        let log = ProcessLog::new(redactor, form, move |line| kept.lock().unwrap().push_str(line));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), tell);
        lines.lock().unwrap().clone()
    }

    /// Everything that an event can say, each with a secret.
    fn tell_all() {
        let (peer, error) = (CARD, io::Error::other(format!("no such host {CARD}.example")));
        let list = vec![CARD];
        tracing::warn!(peer, %error, ?list, error = &error as &(dyn std::error::Error + 'static), "it said {CARD}\n\u{1b}[2J");
        tracing::error!("account=secret; {}", "4111-1111-1111-1111");
        tracing::trace!(target: "hyper::proto", "GET /?pan={CARD} HTTP/1.1");
    }

    #[test]
    fn no_text_of_an_event_reaches_a_line_but_through_redaction() {
        for form in [Form::Text, Form::Json] {
            let text = written(form, tell_all);
            assert_eq!(text.lines().count(), 3, "{form:?}: {text}");
            for secret in [CARD, "4111", "secret", "\u{1b}"] {
                assert!(!text.contains(secret), "{form:?}: {secret:?} in {text}");
            }
            assert_eq!(text.matches("[PAN:visa:16]").count(), 7, "{form:?}: {text}");
            assert!(text.contains("account=[private:account]"), "{form:?}: {text}");
        }
    }

    #[test]
    fn lines_are_json_objects_or_texts_of_one_line() {
        let tell =
            || tracing::info!(listeners = "edge=1", rules = 7_u64, late = -3_i64, s = 0.5, ok = true, "\"quoted\"\n");
        let json = written(Form::Json, tell);
        let fields =
            r#""fields":{"message":"\"quoted\"\\u{a}","listeners":"edge=1","rules":7,"late":-3,"s":0.5,"ok":true}"#;
        let rest = format!(r#""level":"INFO",{fields},"target":"{}"}}"#, module_path!());
        let (time, found) = json.trim_end().split_once(r#"Z","#).unwrap();
        assert!(time.starts_with(r#"{"timestamp":"20"#) && found == rest, "{json}");
        let text = written(Form::Text, tell);
        let (_, found) = text.split_once("Z  ").unwrap();
        let want = r#"INFO sallyport::runtime::process_log::tests: "quoted"\u{a} listeners="edge=1" rules=7 late=-3 s=0.5 ok=true"#;
        assert_eq!(found, format!("{want}\n"));
    }

    #[test]
    fn a_text_is_bounded() {
        let line = written(Form::Json, || tracing::info!("{}", "x".repeat(MAX_TEXT * 2)));
        assert!(line.len() < MAX_TEXT + 200 && line.contains('…'), "{} bytes", line.len());
    }

    /// Tells the copy of this test in a process of its own what to do there.
    const CHILD: &str = "SALLYPORT_TESTS_PANIC";

    #[test]
    fn a_panic_says_where_and_not_what() {
        if let Some(form) = std::env::var_os(CHILD) {
            return panic_on_purpose(form == "log");
        }
        let place = format!("{}:", file!());
        let in_log = format!(r#""fields":{{"message":"a fault of the program","place":"{place}"#);
        for (form, want) in [("log", in_log), ("no log", place)] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let name = format!("{}::a_panic_says_where_and_not_what", module_path!().split_once("::").unwrap().1);
            let ran = child.args(["--exact", &name, "--nocapture"]).env(CHILD, form).output().unwrap();
            let (out, said) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
            assert!(out.contains("1 passed"), "{form}: {out}");
            assert!(said.contains(&want) && said.contains("a fault of the program"), "{form}: {said}");
            assert!(!(out + &said).contains("4111"), "{form}: {said}");
        }
    }

    fn panic_on_purpose(with_log: bool) {
        let hook = std::panic::take_hook();
        tell_panics_by_place();
        let log = ProcessLog::new(Redactor::default(), Form::Json, |line| eprint!("{line}"));
        let fault = || std::panic::catch_unwind(|| panic!("the peer sent {CARD}")).is_err();
        let ended = match with_log {
            true => tracing::subscriber::with_default(tracing_subscriber::registry().with(log), fault),
            false => fault(),
        };
        std::panic::set_hook(hook);
        assert!(ended);
    }
}
