//! What stands around the subject: folder, dnsmasq, origin; and the start of a subject, seen to tunnel and to refuse.
//! Not here: its configuration (`recipe`), the load (`cell`).

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket as StdUdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::process::Started;
use super::programs::Programs;
use super::recipe::{self, Kitchen};
use super::refusal::Refusal;
use crate::names::{DOMAIN, FAKE_PORT, REAL_PORT, TARGETS, Target, address_of_target};
use crate::net;
use crate::subject::Subject;

/// Upper bound of a subject's start; and so much more for every so many names.
const START_DEADLINE: Duration = Duration::from_secs(30);
const NAMES_A_SECOND: usize = 10_000;

/// Time for a subject to end the work of its start, and to give back the memory that took.
const SETTLE: Duration = Duration::from_secs(1);

/// Upper bound of one probe.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// Whence subjects are probed: an address of the loads' network that no load takes.
const PROBER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 250);

/// Gives a program hosts and resolv.conf of its own, in a mount namespace of its own.
const PRIVATE_NAMES: &str =
    "mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" /etc/resolv.conf && shift 2 && exec \"$@\"";

/// Who peers run as once they have given up root; a package of the distribution made it.
const PEERS_USER: &str = "proxy";

/// Cores, as taskset takes them.
#[derive(Clone, Debug)]
pub struct Cores {
    /// The subject's.
    pub subject: String,
    /// Those of load, origin and dnsmasq.
    pub rig: String,
}

/// The surroundings of all subjects.
pub struct Stage {
    /// Folder of this run.
    folder: PathBuf,
    dns: Ipv4Addr,
    tunnels: u32,
    programs: Programs,
    /// Which cores are whose.
    pub cores: Cores,
    /// Kept running.
    _helpers: [Started; 2],
}

/// A subject that serves.
pub struct Running {
    /// Its process.
    pub process: Started,
    /// Where it listens.
    pub proxy: SocketAddr,
}

impl Stage {
    /// Writes the common files into `folder`, starts dnsmasq and the origin, and waits for both.
    ///
    /// # Errors
    /// They don't start, most likely as what they need is in use: see [`check_free`].
    pub async fn set_up(folder: &Path, dns: Ipv4Addr, tunnels: u32, cores: Cores, programs: Programs) -> Result<Self> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let write = |file: &str, text: String| fs::write(folder.join(file), text).context("cannot write to the folder");
        write("hosts", "127.0.0.1 localhost\n".to_owned())?;
        write("resolv.conf", format!("nameserver {dns}\noptions ndots:1 timeout:2\n"))?;
        write("dnsmasq.conf", dnsmasq(dns))?;
        let config = folder.join("dnsmasq.conf");
        let words = [programs.path("dnsmasq")?, "--keep-in-foreground".to_owned(), format!("-C{}", config.display())];
        let mut names = Started::spawn(&cores.rig, &words, &folder.join("dnsmasq.log"), None)?;
        names.ready(START_DEADLINE, async || names_are_answered(dns).await).await.context("dnsmasq")?;
        let rig = std::env::current_exe()?.to_string_lossy().into_owned();
        let range = format!("{}-{TARGETS}", address_of_target(0));
        let words = [
            rig,
            "origin".to_owned(),
            format!("--listen={range}:{REAL_PORT}"),
            format!("--fake-tls={range}:{FAKE_PORT}"),
        ];
        let mut origin = Started::spawn(&cores.rig, &words, &folder.join("origin.log"), None)?;
        origin.ready(START_DEADLINE, async || origin_accepts().await).await.context("origin")?;
        Ok(Self { folder: folder.to_owned(), dns, tunnels, programs, cores, _helpers: [names, origin] })
    }

    /// A file of this run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a subject, afresh, and waits until it tunnels to a target; sees that it refuses what is not listed.
    ///
    /// # Errors
    /// It doesn't.
    pub async fn start(&self, subject: Subject) -> Result<Running> {
        let folder = self.file(&subject.to_string());
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        if subject.kind.is_peer() {
            give_to_peers(&folder)?;
        }
        let both = format!("{},{}", self.cores.subject, self.cores.rig);
        let cores = if subject.two_cores { &both } else { &self.cores.subject };
        let kitchen = Kitchen {
            folder: &folder,
            programs: &self.programs,
            dns: self.dns,
            cores: core_count(cores).context("cores")?,
            tunnels: self.tunnels,
        };
        let mut words = kitchen.prepare(subject)?;
        if subject.kind.relay().is_none() {
            let own = ["hosts", "resolv.conf"].map(|file| self.file(file).to_string_lossy().into_owned());
            let private = ["unshare", "-m", "sh", "-c", PRIVATE_NAMES, "sh"].map(str::to_owned);
            words = [private.as_slice(), &own, &words].concat();
        }
        let mut process = Started::spawn(cores, &words, &folder.join("output"), None)?;
        let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, recipe::port(subject.kind)));
        let patience = Duration::from_secs(u64::try_from(subject.names / NAMES_A_SECOND)?);
        process.ready(START_DEADLINE.saturating_add(patience), async || it_tunnels(proxy).await).await?;
        if answer(proxy, "no0.evil.test").await? == 200 {
            bail!("lets a name through that is not allowed");
        }
        sleep(SETTLE).await;
        Ok(Running { process, proxy })
    }
}

/// How many cores a list such as `0,2-3` has.
pub fn core_count(list: &str) -> Option<usize> {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
    };
    list.split(',').map(count).sum()
}

/// What dnsmasq must have for itself, and the ports of the subjects.
///
/// # Errors
/// [`Refusal::InUse`].
pub fn check_free(dns: Ipv4Addr) -> Result<(), Refusal> {
    let used = |what: String| move |error: std::io::Error| Refusal::InUse { what, why: error.to_string() };
    let targets = [REAL_PORT, FAKE_PORT].map(|port| format!("{}:{port}", address_of_target(0)));
    for address in recipe::addresses().into_iter().chain(targets) {
        TcpListener::bind(&address).map_err(used(address))?;
    }
    StdUdpSocket::bind((dns, 53)).map_err(used(format!("{dns}:53 (`--dns` takes another)")))?;
    Ok(())
}

fn dnsmasq(dns: Ipv4Addr) -> String {
    let head = format!(
        "no-resolv\nno-hosts\nbind-interfaces\nlisten-address={dns}\nport=53\nlocal=/test/\nlocal-ttl=300\ncache-size=10000\nuser=root\npid-file=\n"
    );
    let record = |number| format!("host-record=t{number}.{DOMAIN},{}\n", address_of_target(number));
    head + &(0..TARGETS).map(record).collect::<String>()
}

/// Asks for the address of the first target.
async fn names_are_answered(dns: Ipv4Addr) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // One question, recursion desired: t0.customer.test, type A, class IN (RFC 1035, 4.1).
    let question = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x02t0\x08customer\x04test\0\0\x01\0\x01";
    socket.send_to(question, (dns, 53)).await?;
    let mut answer = Vec::with_capacity(512);
    timeout(PROBE_DEADLINE, socket.recv_buf(&mut answer)).await??;
    if !answer.ends_with(&address_of_target(0).octets()) {
        bail!("a wrong answer");
    }
    Ok(())
}

async fn origin_accepts() -> Result<()> {
    for number in [0, TARGETS.saturating_sub(1)] {
        for port in [REAL_PORT, FAKE_PORT] {
            TcpStream::connect((address_of_target(number), port)).await?;
        }
    }
    Ok(())
}

async fn it_tunnels(proxy: SocketAddr) -> Result<()> {
    match answer(proxy, "t0.customer.test").await? {
        200 => Ok(()),
        status => bail!("an allowed CONNECT is answered with {status}"),
    }
}

async fn answer(proxy: SocketAddr, host: &str) -> Result<u16> {
    let target = Target { host: host.to_owned(), port: FAKE_PORT };
    Ok(timeout(PROBE_DEADLINE, net::ask(proxy, PROBER, &target)).await??.status)
}

/// Lets peers write to their folder after they have given up root.
fn give_to_peers(folder: &Path) -> Result<()> {
    let users = fs::read_to_string("/etc/passwd").context("cannot read the users")?;
    let ids = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.first() == Some(&PEERS_USER))
            .then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
    };
    let (user, group) = users.lines().find_map(ids).flatten().context("no user `proxy`; squid's package makes it")?;
    chown(folder, Some(user), Some(group)).context("cannot give the folder away")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_as_taskset_takes_them() {
        for (list, want) in [
            ("0", Some(1)),
            ("0,1", Some(2)),
            ("0-3", Some(4)),
            ("0,2-3", Some(3)),
            ("3-2", None),
            ("", None),
            ("a", None),
        ] {
            assert_eq!(core_count(list), want, "{list}");
        }
    }

    #[test]
    fn every_target_has_a_record() {
        let config = dnsmasq(Ipv4Addr::new(127, 0, 1, 53));
        assert_eq!(config.matches("host-record=").count(), usize::from(TARGETS));
        assert!(config.contains("host-record=t15.customer.test,127.0.1.16\n"), "{config}");
    }
}
