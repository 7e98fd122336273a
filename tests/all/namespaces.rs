//! Network namespaces with wires between them, made for one test and gone with it: routes, addresses and ports are the test's own.
//! A test runs itself again in the first, where its clients and origins are; a proxy runs in another one. That takes root; without it
//! the test says so. Not here: what a test does in them. Source: network_namespaces(7), setns(2), veth(4).

use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use rustix::process::Uid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_uid};
use tempfile::TempDir;

use super::harness::{Proxy, Setup, write_setup};
use super::programs::{self, program, sallyport};

/// Says to the inner run of a test that it is one.
const INNER: &str = "SALLYPORT_TESTS_NAMESPACE";

/// Where the test is.
pub const NEAR: &str = "10.77.0.1";

/// Where the proxy is.
pub const FAR: &str = "10.77.0.2";

/// The far namespace: there as long as this is held.
pub struct Far {
    space: Space,
}

/// A namespace: there as long as this is held.
pub struct Space {
    holder: Child,
}

/// What makes a network namespace: for who is not root, in a user namespace of its own where it is.
fn own_flags() -> &'static str {
    if rustix::process::geteuid().is_root() { "-n" } else { "-rn" }
}

/// Whether this is the inner run of `test`, in a namespace of its own; the outer one runs it and has nothing else to do.
pub fn is_inner(test: &str) -> bool {
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let own = programs::finish(program("unshare").args([own_flags(), "true"]), "");
    if own.code != Some(0) {
        println!(
            "skipped: no network namespace is to be had here ({}); run `{test}` as root or where users may make namespaces",
            own.err.trim()
        );
        return false;
    }
    let itself = std::env::current_exe().unwrap();
    let mut command = program("unshare");
    command.arg(own_flags()).arg(itself).args(["--exact", test, "--nocapture"]);
    let inner = programs::finish(command.env(INNER, "1"), "");
    assert_eq!(inner.code, Some(0), "{}\n{}", inner.out, inner.err);
    assert!(inner.out.contains("1 passed"), "{test} is this test's name: {}", inner.out);
    print!("{}", inner.out);
    false
}

impl Space {
    /// A namespace in which loopback is up and nothing else is there.
    pub fn new() -> Self {
        let mut command = program("unshare");
        command.args(["-n", "sh", "-c", "echo made; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut made = [0; 5];
        holder.stdout.as_mut().unwrap().read_exact(&mut made).unwrap();
        let space = Self { holder };
        space.ip(&["link", "set", "lo", "up"]);
        space
    }

    /// The process that holds it, by which `ip` names it.
    pub fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    /// A command in it, without its arguments.
    pub fn enter(&self, command: &Command) -> Command {
        let mut inside = program("nsenter");
        inside.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg(command.get_program());
        inside
    }

    /// Runs ip(8) in it.
    pub fn ip(&self, words: &[&str]) {
        run(self.enter(&program("ip")).args(words));
    }

    /// Sets what sysctl(8) sets for it, below `net`.
    pub fn set(&self, name: &str, value: &str) {
        let mut shell = self.enter(&program("sh"));
        run(shell.args(["-c", "echo \"$1\" > \"/proc/sys/net/$0\"", name, value]));
    }

    /// What `work` gives in it, as this user.
    pub fn run_as<T: Send>(&self, user: u32, work: impl FnOnce() -> T + Send) -> T {
        let space = File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        let inside = move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            // Of this thread alone.
            set_thread_uid(Uid::from_raw(user)).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Far {
    /// Both namespaces, if this is the inner run of `test`.
    pub fn of(test: &str) -> Option<Self> {
        is_inner(test).then(Self::new)
    }

    fn new() -> Self {
        let far = Self { space: Space::new() };
        ip(&["link", "set", "lo", "up"]);
        ip(&["link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &far.space.pid()]);
        ip(&["addr", "add", &format!("{NEAR}/24"), "dev", "near"]);
        ip(&["link", "set", "near", "up"]);
        far.ip(&["addr", "add", &format!("{FAR}/24"), "dev", "far"]);
        far.ip(&["link", "set", "far", "up"]);
        far.ip(&["route", "add", "default", "via", NEAR]);
        far
    }

    /// A proxy in the far namespace, with this policy and more of the configuration. Its metrics are heard in the near one.
    pub fn proxy(&self, policy: &str, more: &str) -> Proxy {
        let dir = TempDir::new().unwrap();
        let probes = format!("{FAR}:9902");
        let more = format!("{more}probes: {{address: \"{probes}\"}}\n");
        let listen = format!("{FAR}:0");
        write_setup(dir.path(), &Setup { policy, more: &more, listen: &listen, ..Setup::default() });
        let mut proxy = Proxy::start_by(self.space.enter(&sallyport()), dir);
        proxy.admin = probes.parse().unwrap();
        proxy
    }

    /// Runs ip(8) in the far namespace.
    pub fn ip(&self, words: &[&str]) {
        self.space.ip(words);
    }

    /// Gives an address to the far namespace, and the near one the way to it.
    pub fn add(&self, address: Ipv4Addr) {
        self.ip(&["addr", "add", &format!("{address}/32"), "dev", "far"]);
        ip(&["route", "replace", &format!("{address}/32"), "via", FAR]);
    }

    /// Takes an address away.
    pub fn remove(&self, address: Ipv4Addr) {
        self.ip(&["addr", "del", &format!("{address}/32"), "dev", "far"]);
    }

    /// Sets what sysctl(8) sets for the far namespace, below `net`.
    pub fn set(&self, name: &str, value: &str) {
        self.space.set(name, value);
    }
}

/// Runs ip(8) in the near namespace.
pub fn ip(words: &[&str]) {
    run(program("ip").args(words));
}

fn run(command: &mut Command) {
    let ended = programs::finish(command, "");
    assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.err);
}
