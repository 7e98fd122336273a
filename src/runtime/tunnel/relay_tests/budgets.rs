//! Tunnels whose bytes of the day run out: never a byte more, whether copied or spliced, and an end where the sender ended by itself.
//! Not here: counting for several tunnels at once (`quota`).

use std::rc::Rc;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{spawn_local, yield_now};

use super::super::{Ending, relay};
use super::speaks::Speaks;
use super::{Ends, assert_back, block_on, leave, tunnel_within};
use crate::runtime::lane::Lane;

/// Sends `bytes` through a tunnel with a budget; gives what arrived and how it ended.
async fn send(budget: usize, bytes: usize, pipes: usize) -> (usize, Ending) {
    let lane = Rc::new(Lane::default());
    let held = leave(&lane, pipes);
    let Ends { client, origin, link } = Ends::new([None; 2], Speaks::Tcp).await;
    let tunnel = Rc::new(tunnel_within(&format!("bytes_out: {budget}B/day")));
    let relaying = spawn_local({
        let (lane, tunnel) = (Rc::clone(&lane), Rc::clone(&tunnel));
        async move { relay(&link, &tunnel, &lane).await }
    });
    let (mut client, mut origin) = (Rc::into_inner(client).unwrap(), Rc::into_inner(origin).unwrap());
    let sending = spawn_local(async move {
        // Cut off at the budget's end: then the rest can't be written.
        let sent = client.write_all(&vec![7; bytes]).await;
        if sent.is_ok() {
            SockRef::from(&client).shutdown(std::net::Shutdown::Write).unwrap();
        }
        let _ = client.read(&mut [0]).await;
    });
    let mut arrived = 0;
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = origin.read(&mut buffer).await {
        arrived += count;
    }
    drop(origin);
    let ending = relaying.await.unwrap();
    sending.await.unwrap();
    assert_eq!(tunnel.bytes_out().get(), arrived as u64);
    assert_back(&lane, pipes).await;
    drop(held);
    (arrived, ending)
}

#[test]
fn a_budget_is_never_exceeded_and_what_fits_goes_through_whole() {
    const KIB: usize = 1024;
    for (row, budget, bytes, ending) in [
        ("within", 10_000, 9_000, Ending::ClientClosed),
        ("exactly, and then the end", 10_000, 10_000, Ending::ClientClosed),
        ("a byte more", 10_000, 10_001, Ending::ByteBudgetSpent),
        ("bulk, within", 3000 * KIB, 2999 * KIB, Ending::ClientClosed),
        ("bulk, exactly", 3000 * KIB, 3000 * KIB, Ending::ClientClosed),
        ("bulk, much more", 3000 * KIB + 17, 9000 * KIB, Ending::ByteBudgetSpent),
    ] {
        for pipes in [0, 1] {
            block_on(async move {
                let (arrived, ended) = send(budget, bytes, pipes).await;
                assert_eq!((arrived, ended), (bytes.min(budget), ending), "{row} with {pipes} pipes");
            });
        }
    }
}

#[test]
fn a_tunnel_that_sends_nothing_more_outlives_its_budget() {
    block_on(async {
        let lane = Rc::new(Lane::default());
        let Ends { client, origin, link } = Ends::new([None; 2], Speaks::Tcp).await;
        let tunnel = Rc::new(tunnel_within("bytes_out: 4B/day"));
        let relaying = spawn_local({
            let (lane, tunnel) = (Rc::clone(&lane), Rc::clone(&tunnel));
            async move { relay(&link, &tunnel, &lane).await }
        });
        let (mut client, mut origin) = (Rc::into_inner(client).unwrap(), Rc::into_inner(origin).unwrap());
        let mut four = [0; 4];
        client.write_all(b"ping").await.unwrap();
        origin.read_exact(&mut four).await.unwrap();
        origin.write_all(b"pong").await.unwrap();
        client.read_exact(&mut four).await.unwrap();
        assert!(!relaying.is_finished(), "answers still come");
        client.write_all(b"!").await.unwrap();
        while !relaying.is_finished() {
            yield_now().await;
        }
        assert_eq!(relaying.await.unwrap(), Ending::ByteBudgetSpent);
    });
}
