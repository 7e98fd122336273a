//! Who gets a new connection, a worker that is behind, one that stops, one that is alone.

use std::net::{TcpListener, TcpStream};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::runtime::facts::Peer;
use crate::runtime::gate::Gate;

/// Connections that are accepted one after the other.
struct Arrivals {
    listener: TcpListener,
    gate: Gate,
}

impl Arrivals {
    fn new() -> Self {
        let gate = Gate::new(1000, 1000);
        gate.serve([Arc::from("east")].iter());
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), gate }
    }

    /// The client's end, and the connection as a listener gives it.
    fn next(&self) -> (TcpStream, Arrival) {
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (socket, peer) = self.listener.accept().unwrap();
        let connection = self.gate.enter(Some("east")).unwrap();
        (client, Arrival { socket: Fresh::Tcp(socket, peer), entrance: Entrance::plain("edge"), connection })
    }
}

/// A worker that has so many connections.
fn with(count: usize, balance: &Balance) -> Vec<Seat> {
    (0..count).map(|_| Seat::new(&balance.0.as_ref().unwrap().own)).collect()
}

#[test]
fn the_least_loaded_gets_what_is_beyond_the_slack() {
    let arrivals = Arrivals::new();
    for (own, others, want) in [
        (0, vec![0], None),
        (SLACK, vec![0], None),
        (SLACK + 1, vec![0], Some(1)),
        (SLACK + 1, vec![1], None),
        (SLACK + 3, vec![2, 1, 2], Some(2)),
        (SLACK + 3, vec![3, 3, 3], None),
        (0, vec![0, 500], None),
        (160 + SLACK, vec![160, 170], None),
        (160 + 160 / SLACK_PART, vec![160, 170], None),
        (160 + 160 / SLACK_PART + 1, vec![170, 160], Some(2)),
        (500, vec![600, 700], None),
    ] {
        let mut workers = between(others.len() + 1);
        let _before: Vec<Vec<Seat>> = std::iter::once(&own)
            .chain(&others)
            .zip(&workers)
            .map(|(count, (worker, _))| with(*count, worker))
            .collect();
        let loads: Vec<_> = workers.iter().map(|(balance, _)| balance.watch()).collect();
        let (_client, arrival) = arrivals.next();
        let peer = arrival.socket.peer();
        let kept = workers[0].0.seat(arrival);
        assert_eq!(kept.is_none(), want.is_some(), "{own} beside {others:?}");
        let server = want.unwrap_or(0);
        let count = std::iter::once(&own).chain(&others).nth(server).unwrap();
        assert_eq!(loads[server](), count + 1, "{own} beside {others:?}");
        let seated = kept.or_else(|| workers[server].1.next().now_or_never()).unwrap();
        assert_eq!(seated.arrival.socket.peer(), peer, "{own} beside {others:?}");
        drop(seated);
        assert_eq!(loads[server](), *count, "{own} beside {others:?}: the place was not given back");
    }
}

#[test]
fn one_that_is_far_behind_gets_no_more_and_loses_nothing() {
    let arrivals = Arrivals::new();
    let mut workers = between(2);
    let (idle, inbox) = workers.pop().unwrap();
    let (busy, _) = workers.pop().unwrap();
    let _before = with(10 * MAX_HANDED, &busy);
    let (mut clients, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..MAX_HANDED + 3 {
        let (client, arrival) = arrivals.next();
        clients.push(client);
        kept.extend(busy.seat(arrival));
    }
    assert_eq!((kept.len(), idle.watch()(), busy.watch()()), (3, MAX_HANDED, 10 * MAX_HANDED + 3));
    assert_eq!(arrivals.gate.served(), MAX_HANDED + 3);
    let handed = inbox.close().now_or_never().unwrap();
    assert_eq!(handed.len(), MAX_HANDED);
    let peers = handed.iter().chain(&kept).map(|seated| seated.arrival.socket.peer());
    assert!(peers.eq(clients.iter().map(|client| Peer::Address(client.local_addr().unwrap()))), "not in their order");
    drop((handed, kept));
    assert_eq!((arrivals.gate.served(), idle.watch()(), busy.watch()()), (0, 0, 10 * MAX_HANDED));
}

#[test]
fn one_that_has_stopped_gets_nothing() {
    let arrivals = Arrivals::new();
    let mut workers = between(2);
    let (idle, inbox) = workers.pop().unwrap();
    let (busy, _) = workers.pop().unwrap();
    let _before = with(100, &busy);
    let (_client, arrival) = arrivals.next();
    assert!(busy.seat(arrival).is_none());
    assert_eq!(inbox.close().now_or_never().unwrap().len(), 1);
    let (_client, arrival) = arrivals.next();
    assert!(busy.seat(arrival).is_some());
    assert_eq!((idle.watch()(), busy.watch()()), (0, 100), "a place was not given back");
}

#[test]
fn one_that_is_alone_neither_counts_nor_waits_for_others() {
    let arrivals = Arrivals::new();
    let mut workers = between(1);
    let (balance, mut inbox) = workers.pop().unwrap();
    assert!(balance.0.is_none() && inbox.0.is_none() && workers.is_empty());
    let (clients, arriving): (Vec<_>, Vec<_>) = (0..2 * SLACK).map(|_| arrivals.next()).unzip();
    let kept: Vec<Seated> = arriving.into_iter().filter_map(|arrival| balance.seat(arrival)).collect();
    assert_eq!(kept.len(), clients.len());
    assert!(kept.iter().all(|seated| seated.seat.0.is_none()));
    assert!(inbox.next().now_or_never().is_none());
    assert!(inbox.close().now_or_never().unwrap().is_empty());
}

proptest! {
    /// One worker accepts everything, connections end anywhere: it takes none that puts it further beyond the least loaded than the slack,
    /// and hands none to a worker that then has more than itself.
    #[test]
    fn whoever_leaves_nobody_is_given_too_many(workers in 2_usize..6, steps in prop::collection::vec((any::<bool>(), any::<u16>()), 1..600)) {
        let crew = between(workers);
        let scales = crew[0].0.0.as_ref().unwrap();
        let mut open: Vec<Seat> = Vec::new();
        for (leaves, which) in steps {
            if leaves && !open.is_empty() {
                open.swap_remove(usize::from(which) % open.len());
                continue;
            }
            let place = Seat::new(scales.lighter().map_or(&scales.own, |peer| &peer.load));
            let (own, others): (usize, Vec<usize>) = (scales.own.connections(), scales.others.iter().map(|peer| peer.load.connections()).collect());
            let least = others.into_iter().min().unwrap();
            let gets = place.0.as_ref().unwrap();
            if Arc::ptr_eq(gets, &scales.own) {
                prop_assert!(own <= least + SLACK.max(least / SLACK_PART) + 1, "takes the {own}th beside {least}");
            } else {
                prop_assert!(gets.connections() <= own, "{} handed to one that has {}", own, gets.connections());
            }
            open.push(place);
        }
        drop(open);
        prop_assert!(crew.iter().all(|(balance, _)| balance.watch()() == 0));
    }
}
