//! Sockets that share an address, or do not, and what is accepted from them.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::ErrorKind;

use tokio::time::timeout;

use super::*;

fn plain(_: &Socket) -> io::Result<()> {
    Ok(())
}

fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[test]
fn several_sockets_share_an_address_that_nobody_else_gets() {
    let sockets = bind("127.0.0.1:0".parse().unwrap(), 4, (plain, share)).unwrap();
    let address = sockets[0].local_addr().unwrap();
    assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
    let again = bind(address, 4, (plain, share)).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AddrInUse);

    let clients: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut heard = HashSet::new();
    let mut accepted = 0;
    for (number, socket) in sockets.iter().enumerate() {
        while socket.accept().is_ok() {
            heard.insert(number);
            accepted += 1;
        }
    }
    assert_eq!(accepted, clients.len());
    assert!(heard.len() > 1, "all 64 came to one of four sockets");
}

#[test]
fn where_none_can_be_shared_there_is_one_for_all() {
    let refused = |_: &Socket| Err(io::Error::from(ErrorKind::Unsupported));
    let sockets = bind("127.0.0.1:0".parse().unwrap(), 4, (plain, refused)).unwrap();
    assert_eq!(sockets.len(), 1);
    let _client = TcpStream::connect(sockets[0].local_addr().unwrap()).unwrap();
    assert!(
        bind(sockets[0].local_addr().unwrap(), 1, (plain, refused)).is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
    );
}

/// More than one go takes, some of them before it listens in the runtime, of both families; others have their turn between two goes.
#[test]
fn all_that_wait_are_taken_with_their_addresses_ready_to_be_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let socket = bind(address.parse().unwrap(), 1, (plain, share)).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        let connect = |count| (0..count).map(move |_| TcpStream::connect(address).unwrap());
        let mut clients: Vec<TcpStream> = connect(3 * MAX_ACCEPTED + 1).collect();
        let taken = RefCell::new(Vec::new());
        let at_one_go = Cell::new(0);
        runtime.block_on(async {
            let listener = Listener::new(Listening::Tcp(socket)).unwrap();
            let mut accepting = std::pin::pin!(listener.accept_all(|accepted| {
                let Fresh::Tcp(socket, peer) = accepted else { panic!("a Unix socket") };
                taken.borrow_mut().push(peer);
                at_one_go.update(|count| count + 1);
                assert!(at_one_go.get() <= MAX_ACCEPTED, "nobody else has had a turn");
                assert!(socket.nodelay().unwrap(), "small messages would wait for acknowledgements");
                let error = io::Read::read(&mut &socket, &mut [0]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
            }));
            for more in [0, 1, MAX_ACCEPTED] {
                clients.extend(connect(more));
                let all = async {
                    while taken.borrow().len() < clients.len() {
                        at_one_go.set(0);
                        yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    done = timeout(Duration::from_secs(20), all) => done.expect("not all were taken"),
                    () = &mut accepting => unreachable!(),
                }
            }
        });
        let expected: Vec<SocketAddr> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(taken.into_inner(), expected);
    }
}
