//! The whole session as the product runs it: a real client, a real customer, real sockets, a task of its own.
//! Not here: accepting, and what the runtime does between polls.

use std::rc::Rc;
use std::sync::Arc;

use sallyport::runtime::facts::Peer;
use sallyport::runtime::front::{self, Accepted};
use sallyport::runtime::stream::ClientStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use crate::server_hello::server_hello;
use crate::setting::{Connected, Setting};
use crate::step::Step;

/// One message each way once the tunnel is open.
const MESSAGE: [u8; 120] = [23; 120];

/// One request, allowed: hellos, a message each way, the end.
pub async fn request(setting: &Setting) {
    let Connected { mut client, accepted, peer } = setting.connect().await;
    let (peer, entrance) = (Peer::Address(peer), Arc::clone(&setting.entrance));
    let connection = setting.worker.admit(&entrance, peer).expect("a place");
    let accepted = Accepted { stream: ClientStream::Tcp(accepted), peer, entrance, connection };
    let serving = spawn_local(Step::Session.poll(front::serve(Rc::clone(&setting.worker), accepted)));

    client.write_all(&setting.head).await.expect("a head is taken");
    expect(&mut client, b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    let (mut origin, _) = setting.origin.accept().await.expect("a connection");
    client.write_all(&setting.hello).await.expect("a hello is taken");
    expect(&mut origin, &setting.hello).await;
    let answer = server_hello(&setting.hello);
    origin.write_all(&answer).await.expect("a hello is taken");
    expect(&mut client, &answer).await;
    client.write_all(&MESSAGE).await.expect("a message is taken");
    expect(&mut origin, &MESSAGE).await;
    origin.write_all(&MESSAGE).await.expect("a message is taken");
    expect(&mut client, &MESSAGE).await;
    drop(client);
    assert_eq!(origin.read(&mut [0; 1]).await.expect("an end"), 0, "the end is passed on");
    drop(origin);
    serving.await.expect("a session without a fault");
}

/// Reads as many bytes as are wanted; other ones are a fault.
async fn expect(socket: &mut TcpStream, want: &[u8]) {
    let mut bytes = vec![0; want.len()];
    socket.read_exact(&mut bytes).await.expect("an answer");
    assert!(bytes == want, "other bytes came: {}", String::from_utf8_lossy(&bytes));
}
