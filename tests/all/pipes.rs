//! Bulk with as many pipes as a worker has, with tiny ones and with none: it arrives whole, by splicing or by copying.
//! Not here: which way is chosen when (`src/runtime/tunnel/relay_tests.rs`). Source: pipe(7), fcntl(2).

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use socket2::SockRef;

use crate::ends::{Origin, Tunnel, await_metric, finish, metric};
use crate::harness::{PATIENCE, Proxy, eventually};
use crate::programs::{self, program};
use crate::streams::{MIB, NAME, Numbers, Stream, exchange, proxy};

/// `MAX_PIPES` of the proxy: in use or kept by one worker.
const MAX_PIPES: usize = 32;

/// What one tunnel of bulk moves in each direction.
const BULK: u64 = 20 * MIB;

/// Of one tunnel: after so much it moves bulk, and so much in all is more than all buffers on its way hold.
const UNDER_WAY: u64 = 4 * MIB;
const TOO_MUCH: u64 = 32 * MIB;

/// All pipes of a user are one account (`pipe-user-pages-soft`): a test that counts pipes and one that fills the account wait for
/// each other.
static ACCOUNT: Mutex<()> = Mutex::new(());

/// Those that stay: the log opens some for a moment, twice a second, to write its tiles and checkpoint.
fn open_descriptors(proxy: &Proxy) -> usize {
    let end = Instant::now() + LOOKS;
    let mut least = usize::MAX;
    while Instant::now() < end {
        least = least.min(metric(proxy, "process_open_fds").unwrap() as usize);
    }
    least
}

/// How long descriptors are counted: several times what writing tiles and checkpoint takes.
const LOOKS: Duration = Duration::from_millis(250);

/// A proxy with one worker: it has as many as there are cores that it may use, and inherits which ones from the thread that starts it.
fn with_one_worker(origin: &Origin) -> Proxy {
    let start = || {
        let task = fs::read_link("/proc/thread-self").unwrap();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        let first = cores.split([',', '-']).next().unwrap();
        let pin = programs::finish(program("taskset").args(["-cp", first]).arg(task.file_name().unwrap()), "");
        assert_eq!(pin.code, Some(0), "{}", pin.err);
        proxy(origin, "")
    };
    std::thread::scope(|scope| scope.spawn(start).join().unwrap())
}

/// One direction that moves bulk, stopped by its receiver, holds a pipe; those that get none copy. Then all goes on.
#[test]
fn a_worker_has_no_more_pipes_than_its_bound_and_the_rest_copies() {
    let _account = ACCOUNT.lock().unwrap_or_else(PoisonError::into_inner);
    let origin = Origin::new();
    let proxy = with_one_worker(&origin);
    let stream = &Stream::new(41);
    let before = open_descriptors(&proxy);
    let tunnels: Vec<Tunnel> = (0..MAX_PIPES + 16).map(|_| Tunnel::open(&proxy, NAME, &origin)).collect();
    std::thread::scope(|scope| {
        let ways = tunnels.iter().enumerate().map(|(number, tunnel)| match number % 2 {
            0 => (&tunnel.client, &tunnel.server),
            _ => (&tunnel.server, &tunnel.client),
        });
        let receivers: Vec<_> = ways
            .map(|(from, to)| {
                // The receiver's buffer must not grow with what it has read.
                SockRef::from(to).set_recv_buffer_size(262_144).unwrap();
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                scope.spawn(move || stream.send(&mut from, (0, TOO_MUCH), &mut Numbers(1)));
                stream.receive(&mut to, (0, UNDER_WAY), &mut Numbers(2));
                to
            })
            .collect();
        let bound = before + 2 * tunnels.len() + 2 * MAX_PIPES;
        await_metric(&proxy, "process_open_fds", bound as f64);
        for mut to in receivers {
            scope.spawn(move || stream.receive(&mut to, (UNDER_WAY, TOO_MUCH), &mut Numbers(3)));
        }
    });
    assert!(open_descriptors(&proxy) <= before + 2 * tunnels.len() + 2 * MAX_PIPES, "more pipes than the bound");
    for tunnel in tunnels {
        finish(tunnel);
    }
    // Kept for the next bulk, but no more than that.
    await_metric(&proxy, "process_open_fds", (before + 2 * MAX_PIPES) as f64);
}

/// Sets how many descriptors a process may have, and gives back how many it might before.
fn limit_descriptors(proxy: &Proxy, current: Option<u64>) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(proxy.pid()).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap().current
}

#[test]
fn bulk_arrives_whole_without_a_pipe() {
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let stream = Stream::new(31);
    let tunnel = Tunnel::open(&proxy, NAME, &origin);
    let before = open_descriptors(&proxy);
    // All numbers below are taken, so pipe2(2) says EMFILE.
    let usual = limit_descriptors(&proxy, Some(3));
    exchange(&tunnel, &stream, ((0, BULK), (0, BULK)), 1);
    limit_descriptors(&proxy, usual);
    await_metric(&proxy, "process_open_fds", before as f64);
    exchange(&tunnel, &stream, ((BULK, 2 * BULK), (BULK, 2 * BULK)), 2);
    assert!(open_descriptors(&proxy) >= before + 2, "pipes can be made again, and none is");
    finish(tunnel);
}

/// Beyond `pipe-user-pages-soft` a new pipe has two pages and cannot grow, but for who may exceed resource limits: it is not worth having.
#[test]
fn bulk_arrives_whole_beyond_the_pages_that_a_user_may_have() {
    if may_exceed_limits() {
        return run_again_without(concat!(
            module_path!(),
            "::bulk_arrives_whole_beyond_the_pages_that_a_user_may_have"
        ));
    }
    let _account = ACCOUNT.lock().unwrap_or_else(PoisonError::into_inner);
    let origin = Origin::new();
    let proxy = proxy(&origin, "");
    let stream = Stream::new(37);
    let tunnel = Tunnel::open(&proxy, NAME, &origin);
    // Other tests' pipes come and go on the same account: had one gone, the proxy may have had a larger pipe, and all is tried again.
    let mut held = Vec::new();
    let mut from = 0;
    let kept = eventually("the account stays full during an exchange", Instant::now() + PATIENCE, || {
        held.extend(fill_the_account());
        let before = open_descriptors(&proxy);
        exchange(&tunnel, &stream, ((from, from + BULK), (from, from + BULK)), 1);
        from += BULK;
        is_full(&new_pipe()).then(|| open_descriptors(&proxy).saturating_sub(before))
    });
    assert_eq!(kept, 0, "a pipe of two pages is kept");
    finish(tunnel);
}

/// Pipes until a new one has two pages: its user has no more.
fn fill_the_account() -> Vec<(OwnedFd, OwnedFd)> {
    let mut held = Vec::new();
    eventually("`fs.pipe-user-pages-soft` is reached (0 is no limit)", Instant::now() + PATIENCE, || {
        let pipe = new_pipe();
        let is_full = is_full(&pipe);
        // Refused once there is no room for it.
        let _ = fcntl_setpipe_size(&pipe.1, 1024 * 1024);
        held.push(pipe);
        is_full.then_some(())
    });
    held
}

fn new_pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

/// Whether the account was full when this pipe was made.
fn is_full(pipe: &(OwnedFd, OwnedFd)) -> bool {
    fcntl_getpipe_size(&pipe.1).unwrap() <= 2 * rustix::param::page_size()
}

/// Whether this process has CAP_SYS_ADMIN or CAP_SYS_RESOURCE.
fn may_exceed_limits() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(effective, 16).unwrap() & (1 << 21 | 1 << 24) != 0
}

/// Runs a test of this binary, of which the name begins with the crate's, as who may not exceed limits.
fn run_again_without(test: &str) {
    let (_, test) = test.split_once("::").unwrap();
    let mut again = program("setpriv");
    again.args(["--bounding-set=-sys_admin,-sys_resource", "--inh-caps=-sys_admin,-sys_resource"]);
    let inner = programs::finish(again.arg(std::env::current_exe().unwrap()).args(["--exact", test]), "");
    assert_eq!(inner.code, Some(0), "{}\n{}", inner.out, inner.err);
    assert!(inner.out.contains("1 passed"), "{test} is this test's name: {}", inner.out);
}
