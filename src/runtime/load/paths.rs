//! The paths of a configuration, made relative to its file; whether sockets can have theirs.
//! Not here: what files hold.
//! Source: the contract: "Paths are relative to the file"; unix(7), "Address format" (108 bytes, the last of them zero).

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::config::{Config, ListenAddress, Listener, UnixAddress};
use crate::yaml::{Faults, Located};

/// Upper bound in bytes of a Unix socket's path (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Makes them relative to `base`, the folder of the configuration's file.
pub(super) fn anchor(config: &mut Config, base: &Path, faults: &mut Faults) {
    let (log, admin) = (&mut config.decision_log, &mut config.admin);
    let tls = admin.tls.iter_mut().flat_map(|tls| [&mut tls.certificate.value, &mut tls.key.value]);
    let of_admin = tls.chain(admin.tokens.iter_mut().map(|tokens| &mut tokens.value));
    let own = [&mut config.state, &mut config.policy.value, &mut log.directory, &mut log.key];
    let of_dns = config.dns.validation.iter_mut().flat_map(|validation| &mut validation.file);
    let of_listeners = config.listeners.iter_mut().flat_map(named);
    let located = of_dns.chain(of_listeners).map(|file| &mut file.value);
    for path in own.into_iter().chain(of_admin).chain(located) {
        *path = base.join(&*path).display().to_string();
    }
    sockets(&config.listeners, faults);
}

/// What a listener names.
fn named(listener: &mut Listener) -> impl Iterator<Item = &mut Located<String>> {
    let socket = match &mut listener.address {
        ListenAddress::Unix(UnixAddress { path, .. }) => Some(path),
        ListenAddress::Tcp(_) => None,
    };
    let tls = listener.tls.iter_mut().flat_map(|tls| {
        let client = tls.client_auth.iter_mut().flat_map(|client| [Some(&mut client.ca), client.crl.as_mut()]);
        [Some(&mut tls.certificate), Some(&mut tls.key)].into_iter().chain(client).flatten()
    });
    socket.into_iter().chain(tls).chain(&mut listener.credentials)
}

/// No two at one path, which would take each other's connections, and none too long.
fn sockets(listeners: &[Listener], faults: &mut Faults) {
    let mut seen: Vec<(PathBuf, &Listener)> = Vec::new();
    for listener in listeners {
        let ListenAddress::Unix(UnixAddress { path, .. }) = &listener.address else { continue };
        if path.value.len() > MAX_SOCKET_PATH {
            let (length, found) = (path.value.len(), &path.value);
            let message = format!(
                "`{found}` has {length} bytes, and a socket's path {MAX_SOCKET_PATH} at most; write a shorter one"
            );
            faults.at(path.place, message);
        }
        let place = resolved(Path::new(&path.value));
        match seen.iter().find(|(taken, _)| *taken == place) {
            Some((_, first)) => {
                let message = format!("listener `{}` has this path already; write another one", first.name);
                faults.at(path.place, message);
            }
            None => seen.push((place, listener)),
        }
    }
}

/// With its folder as it is called for good, if there is one: a folder has several names.
fn resolved(path: &Path) -> PathBuf {
    match (folder(path).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        (Ok(_) | Err(_), _) => path.components().collect(),
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a socket can be made at each path: what `run` would find out.
pub(super) fn places(listeners: &[Listener], faults: &mut Faults) {
    for listener in listeners {
        let ListenAddress::Unix(UnixAddress { path, .. }) = &listener.address else { continue };
        let (place, shown) = (Path::new(&path.value), &path.value);
        if !folder(place).is_dir() {
            let folder = folder(place).display();
            faults.at(
                path.place,
                format!("`{folder}`, where `{shown}` would be, is no folder; make it, or write another path"),
            );
        } else if fs::symlink_metadata(place).is_ok_and(|meta| !meta.file_type().is_socket()) {
            faults.at(path.place, format!("`{shown}` is there and is no socket; take it away, or write another path"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn anchored(listeners: &str) -> (Config, Vec<String>) {
        let text = format!("policy: p\nlisteners: [{listeners}]\n");
        let mut faults = Faults::new();
        let mut config = config::load(&text, 0, &|_| None, "a", &mut faults).unwrap();
        anchor(&mut config, Path::new("/etc/s"), &mut faults);
        (config, faults.iter().map(|fault| fault.line(&["f"])).collect())
    }

    #[test]
    fn every_path_of_a_listener_is_relative_to_the_file() {
        let (mut config, faults) = anchored(
            "{name: a, address: '127.0.0.1:1', credentials: users, tls: {certificate: c, key: k, client_auth: required, client_ca: ca, crl: /l}}, \
             {name: b, address: 'unix:s'}, {name: c, address: 'unix:/s'}",
        );
        assert_eq!(faults, [""; 0]);
        let paths: Vec<String> = config.listeners.iter_mut().flat_map(named).map(|path| path.value.clone()).collect();
        assert_eq!(paths, ["/etc/s/c", "/etc/s/k", "/etc/s/ca", "/l", "/etc/s/users", "/etc/s/s", "/s"]);
        assert_eq!(config.policy.value, "/etc/s/p");
    }

    #[test]
    fn sockets_have_short_paths_of_their_own() {
        let fits = "x".repeat(MAX_SOCKET_PATH - "/etc/s/".len());
        for (row, listeners, want) in [
            ("as long as may be", format!("{{name: a, address: 'unix:{fits}'}}"), None),
            (
                "too long",
                format!("{{name: a, address: 'unix:{fits}x'}}"),
                Some("has 108 bytes, and a socket's path 107 at most; write"),
            ),
            (
                "the same",
                "{name: a, address: 'unix:s'}, {name: b, address: 'unix:/etc/s/s'}".into(),
                Some("listener `a` has this path already"),
            ),
            (
                "spelt otherwise",
                "{name: a, address: 'unix:s'}, {name: b, address: 'unix:.//s'}".into(),
                Some("listener `a` has this path already"),
            ),
            ("two", "{name: a, address: 'unix:s'}, {name: b, address: 'unix:t'}".into(), None),
        ] {
            let (_, faults) = anchored(&listeners);
            assert_eq!(faults.len(), usize::from(want.is_some()), "{row}: {faults:?}");
            assert!(want.is_none_or(|want| faults.iter().all(|fault| fault.contains(want))), "{row}: {faults:?}");
        }
    }

    #[test]
    fn sockets_lie_where_there_is_room() {
        let dir = tempfile::TempDir::new().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let _left = std::os::unix::net::UnixListener::bind(dir.path().join("left")).unwrap();
        for (row, address, want) in [
            ("free", "unix:a.sock", None),
            ("a socket that was left", "unix:left", None),
            ("no folder", "unix:none/a.sock", Some("is no folder; make it, or")),
            ("a file for a folder", "unix:file/a.sock", Some("is no folder; make it, or")),
            ("a folder", "unix:sub", Some("is there and is no socket; take it away")),
            ("a file", "unix:file", Some("is there and is no socket; take it away")),
        ] {
            let text = format!("policy: p\nlisteners: [{{name: a, address: '{address}'}}]\n");
            let mut faults = Faults::new();
            let mut config = config::load(&text, 0, &|_| None, "a", &mut faults).unwrap();
            anchor(&mut config, dir.path(), &mut faults);
            places(&config.listeners, &mut faults);
            let faults: Vec<String> = faults.iter().map(|fault| fault.line(&["f"])).collect();
            assert_eq!(faults.len(), usize::from(want.is_some()), "{row}: {faults:?}");
            assert!(want.is_none_or(|want| faults.iter().all(|fault| fault.contains(want))), "{row}: {faults:?}");
        }
        let two = "policy: p\nlisteners: [{name: a, address: 'unix:x'}, {name: b, address: 'unix:sub/../x'}]\n";
        let mut faults = Faults::new();
        let mut config = config::load(two, 0, &|_| None, "a", &mut faults).unwrap();
        anchor(&mut config, dir.path(), &mut faults);
        let faults: Vec<String> = faults.iter().map(|fault| fault.line(&["f"])).collect();
        assert!(faults.iter().all(|fault| fault.contains("listener `a` has this path already")), "{faults:?}");
        assert_eq!(faults.len(), 1, "one folder by two names");
    }
}
