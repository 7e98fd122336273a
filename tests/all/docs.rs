//! Runs what the pages show: every block marked `sh`, a page as one script in a folder of its own, with the real binary first in PATH.
//! Not here: blocks marked `console`, which need the network, root, or no end.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::sources::{self, File};

/// A page takes a second or two; on a busy machine some more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the pages let the proxy listen.
const PORTS: [&str; 2] = ["127.0.0.1:3128", "127.0.0.1:9901"];

#[test]
fn what_the_pages_show_works() {
    let pages = sources::repository().into_iter().filter(|file| file.path.ends_with(".md"));
    let pages: Vec<(File, String)> =
        pages.map(|page| (script(&page), page)).map(|(script, page)| (page, script)).collect();
    let pages: Vec<_> = pages.into_iter().filter(|(_, script)| !script.is_empty()).collect();
    let names: Vec<&str> = pages.iter().map(|(page, _)| page.path.as_str()).collect();
    assert_eq!(
        names,
        [
            "README.md",
            "docs/auditors.md",
            "docs/changes.md",
            "docs/operators.md",
            "docs/policy.md",
            "docs/ways/credentials.md",
            "docs/ways/proxy-protocol.md",
            "docs/ways/tls-and-certificates.md",
            "docs/ways/transparent.md",
            "docs/ways/unix-sockets.md"
        ],
        "pages with blocks to run"
    );
    for (page, script) in &pages {
        run(&page.path, script);
    }
}

/// The blocks of a page, one after the other, each behind a line that says where it stands.
fn script(page: &File) -> String {
    let (mut script, mut inside) = (String::new(), false);
    for (number, line) in (1..).zip(page.text.lines()) {
        match line {
            "```sh" => {
                inside = true;
                script.push_str(&format!("echo '--- {}:{number}'\n", page.path));
            }
            "```" => inside = false,
            _ if inside => script.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    script
}

/// A loopback address of this process's own takes the place of the one that is written: its ports are free, and stay so.
/// Clients still come from 127.0.0.1, as the pages say.
fn on_own_address(script: &str) -> String {
    let [.., second, last] = std::process::id().to_be_bytes();
    let own = |port: &str| port.replace("127.0.0.1", &format!("127.100.{second}.{last}"));
    PORTS.iter().fold(script.to_owned(), |script, port| script.replace(port, &own(port)))
}

fn run(page: &str, script: &str) {
    let dir = TempDir::new().unwrap();
    let output = dir.path().join(".output");
    let out = fs::File::create(&output).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_sallyport")).parent().unwrap();
    let script = format!("PATH='{}':$PATH\n{}", binary.display(), on_own_address(script));
    let mut child = Command::new("bash")
        .args(["-eu", "-c", &script])
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .env_remove("SALLYPORT_CONFIG")
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .process_group(0)
        .spawn()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    let ended = loop {
        match child.try_wait().unwrap() {
            None if Instant::now() < end => std::thread::park_timeout(Duration::from_millis(10)),
            ended => break ended,
        }
    };
    // What a page left running goes with it.
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
    let said = fs::read_to_string(&output).unwrap();
    assert!(
        ended.is_some_and(|status| status.success()),
        "{page}: {ended:?} (none: no end within {PATIENCE:?})\n{said}"
    );
}
