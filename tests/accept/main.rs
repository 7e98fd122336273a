//! What takes longer than `make test` may: `make accept` runs it, on the release build, with the harness of `tests/all`.
//! Not here: anything that shows in seconds.

#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../all/certificates.rs"]
mod certificates;
#[cfg(test)]
#[path = "../../benches/shared/chance.rs"]
mod chance;
#[cfg(test)]
mod clients;
#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../all/ends.rs"]
mod ends;
#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../all/harness.rs"]
mod harness;
#[cfg(test)]
mod hours;
#[cfg(test)]
#[path = "../all/kills.rs"]
mod kills;
#[cfg(test)]
mod many_tunnels;
#[cfg(test)]
#[path = "../all/matrix/mod.rs"]
mod matrix;
#[cfg(test)]
mod mixed;
#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../all/nginx.rs"]
mod nginx;
#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../all/origins.rs"]
mod origins;
#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../all/programs.rs"]
mod programs;
#[cfg(test)]
mod records;
#[cfg(test)]
mod reloads;
#[cfg(test)]
#[path = "../all/streams.rs"]
mod streams;
#[cfg(test)]
mod ten_million;
#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod upgrades;
#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../all/wire.rs"]
mod wire;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::ends::{Origin, Tunnel, await_metric, metric};
    use super::harness::Proxy;
    use super::streams::{self, MIB, NAME, move_a_little_and_end};
    use super::{clients, hours, kills, many_tunnels, mixed, reloads, ten_million, upgrades};

    const KILLS: usize = 200;

    /// What is moved in each direction. More than a 32-bit count holds.
    const BULK: u64 = 10 * 1024 * MIB;

    /// What is moved through each of a hundred tunnels of one HTTP/2 connection and back: more than a gigabyte in all.
    const EACH: u64 = 5 * MIB + 7;

    /// Tunnels that are opened and closed, and how many of them are open at once.
    const TUNNELS: usize = 10_000;
    const AT_ONCE: usize = 100;

    /// By how many bytes the process may have grown after so many tunnels: the allocator has play, and the kernel's count of pages is
    /// not exact (proc_pid_stat(5)). A leak of 300 bytes a tunnel shows.
    const GROWTH: f64 = 2.0 * 1024.0 * 1024.0;

    /// Minutes of mixed load; another number can be set by the variable.
    const MINUTES: f64 = 10.0;
    const MINUTES_VARIABLE: &str = "SALLYPORT_TESTS_MINUTES";

    /// Records of the log that is asked; another number can be set by the variable.
    const RECORDS: u64 = 10_000_000;
    const RECORDS_VARIABLE: &str = "SALLYPORT_TESTS_RECORDS";

    /// Before all that takes long.
    #[test]
    fn clients_of_all_kinds_work_and_show_their_users_why_not() {
        clients::work_and_show_their_users_why_not();
    }

    #[test]
    fn two_hundred_kills_lose_no_record() {
        kills::leave_a_record_for_every_tunnel_that_reached_the_origin(KILLS);
    }

    /// Every byte is compared with the one that belongs in its place, which no sum of them could do better.
    #[test]
    fn ten_gibibytes_arrive_whole() {
        let origin = Origin::new();
        let proxy = streams::proxy(&origin, "");
        for (name, moved) in [("down", (3, BULK)), ("up", (BULK, 5))] {
            let begin = Instant::now();
            streams::arrive_whole(&proxy, &origin, moved);
            let took = begin.elapsed().as_secs_f64();
            println!("{name}: {BULK} bytes in {took:.1} s, {:.2} GB/s", BULK as f64 / took / 1e9);
        }
    }

    #[test]
    fn a_gigabyte_moves_through_a_hundred_tunnels_of_one_connection() {
        many_tunnels::do_not_wait_for_one_that_stalls(EACH);
    }

    #[test]
    fn ten_upgrades_under_a_thousand_tunnels_lose_nothing() {
        upgrades::lose_nothing(&upgrades::Load { upgrades: 10, tunnels: 1_000, rate: 300 });
    }

    #[test]
    fn hours_that_end_end_open_tunnels() {
        hours::end_what_is_open();
    }

    #[test]
    fn a_thousand_reloads_under_load_fail_no_request_that_is_still_allowed() {
        reloads::disturb_nobody(&reloads::Load { reloads: 1_000, by_file: 50, rate: 500, others: 1_000 });
    }

    #[test]
    fn a_log_of_ten_million_records_answers_in_time() {
        let given = std::env::var_os(RECORDS_VARIABLE);
        ten_million::answers_in_time(given.map_or(RECORDS, |given| given.to_str().unwrap().parse().unwrap()));
    }

    /// G2, G3: over a time in which a leak would show.
    #[test]
    fn minutes_of_mixed_load_leave_nothing_behind() {
        let given = std::env::var_os(MINUTES_VARIABLE);
        let minutes = given.map_or(MINUTES, |given| given.to_str().unwrap().parse().unwrap());
        mixed::leaves_nothing_behind(Duration::from_secs_f64(minutes * 60.0));
    }

    /// G2, G3: neither a descriptor nor memory stays behind, however the tunnels ended.
    #[test]
    fn ten_thousand_tunnels_leave_nothing_behind() {
        let origin = Origin::new();
        let proxy = streams::proxy(&origin, "");
        // What is made once and kept is made by these.
        open_and_end(&proxy, &origin, TUNNELS / 10);
        let descriptors = metric(&proxy, "process_open_fds").unwrap();
        let memory = metric(&proxy, "process_resident_memory_bytes").unwrap();
        open_and_end(&proxy, &origin, TUNNELS);
        await_metric(&proxy, "process_open_fds", descriptors);
        let grown = metric(&proxy, "process_resident_memory_bytes").unwrap() - memory;
        assert!(grown < GROWTH, "{grown} bytes more than the {memory} before");
    }

    fn open_and_end(proxy: &Proxy, origin: &Origin, tunnels: usize) {
        for _ in 0..tunnels / AT_ONCE {
            move_a_little_and_end((0..AT_ONCE).map(|_| Tunnel::open(proxy, NAME, origin)).collect());
        }
        await_metric(proxy, "sallyport_connections", 0.0);
    }
}
