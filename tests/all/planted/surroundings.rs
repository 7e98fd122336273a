//! What surrounds a proxy that is watched: servers and name servers that send secrets, a terminal, a clock that fails.
//! Not here: what clients send (`places`).

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::secrets::SECRETS;
use crate::dns_server::{Data, DnsServer, Reply};
use crate::programs::{finish, program};
use crate::wire;

/// An alias that holds a card number, and where the number stands in it.
pub const ALIAS: &str = "4012888888881881.cdn.test";

/// A server that sends secrets: as no TLS, in an alert, in a certificate that is in the clear.
pub fn talkative() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let all: String = SECRETS.iter().map(|secret| format!("{}\r\n", secret.text)).collect();
    let certificate = [wire::server_hello(0x0303, 0xc02f), wire::record(wire::HANDSHAKE, all.as_bytes())].concat();
    let sent = [
        format!("HTTP/1.1 400 {all}").into_bytes(),
        wire::record(wire::ALERT, all.as_bytes()),
        wire::server_hello(0x0301, 0x002f),
        certificate,
    ];
    std::thread::spawn(move || {
        for (socket, bytes) in listener.incoming().flatten().zip(sent.iter().cycle()) {
            // How it ends is for the proxy to notice.
            let _ = (&socket).read(&mut [0; 4096]).and_then(|_| (&socket).write_all(bytes));
            let _ = socket.shutdown(Shutdown::Write);
        }
    });
    address
}

/// Aliases that hold a card number, one of them of a name that is not there.
pub fn name_server() -> DnsServer {
    DnsServer::start(|question| {
        let here = || Data::Address([127, 0, 0, 1].into());
        match question.name.as_str() {
            "alias.acme.test" => Reply::Records(vec![Data::Alias(ALIAS), here()]),
            // The alias is asked for by itself, and nobody can say what it is.
            "lost.acme.test" => Reply::Records(vec![Data::Alias(ALIAS)]),
            ALIAS => Reply::Garbage,
            _ => Reply::Records(vec![here()]),
        }
    })
}

/// A library that lets the clock fail once for a worker, as soon as the file of this name is there: that is a fault of the program.
pub fn fault(folder: &Path) -> PathBuf {
    let source = "#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    char name[17] = {0};
    const char *order = getenv(\"FAULT\");
    if (order && prctl(PR_GET_NAME, name) == 0 && strncmp(name, \"worker\", 6) == 0 && unlink(order) == 0) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_clock_gettime, clock, time);
}
";
    let library = folder.join("fault.so");
    let made = finish(program("cc").args(["-shared", "-fPIC", "-x", "c", "-o"]).arg(&library).arg("-"), source);
    assert_eq!(made.code, Some(0), "{made:?}");
    library
}

/// A command whose stderr is a terminal: what it writes there goes on to the stderr that it was given.
pub fn on_a_terminal() -> Command {
    let wrapper = "import os, pty, sys
master, terminal = pty.openpty()
before = os.dup(2)
if os.fork() == 0:
    os.close(terminal)
    try:
        while data := os.read(master, 65536): os.write(before, data)
    except OSError: pass
    os._exit(0)
os.close(master)
os.dup2(terminal, 2)
os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = program("python3");
    command.env_remove("SALLYPORT_CONFIG").args(["-c", wrapper, env!("CARGO_BIN_EXE_sallyport")]);
    command
}

/// Certificate and key of an admin port in `folder`, as `admin.pem` and `admin.key`, and what a client knows of them.
pub fn admin_tls(folder: &Path) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = folder.join("admin.key");
    fs::write(folder.join("admin.pem"), made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
