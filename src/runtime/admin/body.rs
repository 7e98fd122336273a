//! Bodies of answers: whole, or chunk by chunk from a thread that reads the log; and how long a connection may live for them.
//! Not here: what is in them (`log`). Source: hyper's body trait; RFC 9112 section 7.1 (an answer that is cut short is seen to be).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

/// Longest life of one admin connection: one request, the slowest scrape included.
pub const MAX_AGE: Duration = Duration::from_secs(10);

/// Longest life of an answer that is read from the log: some ten million records.
const MAX_QUERY_AGE: Duration = Duration::from_secs(600);

/// How long a client may take for one chunk, and the log until the next one.
const MAX_STALL: Duration = Duration::from_secs(60);

/// Chunks that wait for the client.
const MAX_CHUNKS: usize = 4;

/// Bytes of a chunk: a few calls of the system for a segment's frame.
const CHUNK: usize = 64 * 1024;

/// The log could not be read to its end; the client sees that the answer was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log cannot be read to its end")]
pub struct Broken;

/// What says that there is no more: no chunk is empty.
const END: Bytes = Bytes::new();

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Full<Bytes>),
    /// What a thread sends.
    Stream(Stream),
}

/// The sender's end of a body: what is written comes to the client in chunks. A client that has gone is a broken pipe.
pub struct Chunks {
    sender: mpsc::Sender<Result<Bytes, Broken>>,
    chunk: Vec<u8>,
}

impl Chunks {
    /// Sends the rest and says that it was all. What ends without that, as by a fault of the program, is seen to be cut short.
    ///
    /// # Errors
    /// The client has gone.
    pub fn end(mut self) -> io::Result<()> {
        io::Write::flush(&mut self)?;
        self.sender.blocking_send(Ok(END)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Lets the client see that something is missing.
    pub fn fail(self) {
        // A client that has gone sees nothing.
        let _ = self.sender.blocking_send(Err(Broken));
    }
}

impl io::Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    /// Waits until there is room; the connection's deadline ends that wait. Without anything to send it says whether somebody is there.
    fn flush(&mut self) -> io::Result<()> {
        if self.sender.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// What a thread sends, and the deadline that moves with it.
pub struct Stream {
    chunks: mpsc::Receiver<Result<Bytes, Broken>>,
    deadline: Deadline,
}

/// When a connection is cut, whatever it is doing.
#[derive(Clone)]
pub struct Deadline {
    begun: Instant,
    at: watch::Sender<Instant>,
}

impl Deadline {
    /// That of a connection that begins now, and the other end of it for [`reached`].
    pub fn new() -> (Self, watch::Receiver<Instant>) {
        let begun = Instant::now();
        let (at, reached) = watch::channel(begun + MAX_AGE);
        (Self { begun, at }, reached)
    }

    /// The answer goes on: so long for the next chunk, and so long for all.
    pub fn extend(&self) {
        self.at.send_replace(extended(self.begun, Instant::now()));
    }
}

fn extended(begun: Instant, now: Instant) -> Instant {
    (now + MAX_STALL).min(begun + MAX_QUERY_AGE)
}

/// Ends when the deadline is reached that stands then.
pub async fn reached(mut deadline: watch::Receiver<Instant>) {
    loop {
        let at = *deadline.borrow_and_update();
        match timeout_at(at, deadline.changed()).await {
            Ok(Ok(())) => {}
            // Whoever could extend it has gone.
            Ok(Err(_)) => return tokio::time::sleep_until(at).await,
            Err(_) => return,
        }
    }
}

impl Body {
    /// A body for a thread to write.
    pub fn stream(deadline: Deadline) -> (Chunks, Self) {
        let (sender, chunks) = mpsc::channel(MAX_CHUNKS);
        deadline.extend();
        (Chunks { sender, chunk: Vec::new() }, Self::Stream(Stream { chunks, deadline }))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Whole(Full::new(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context).map_err(|never| match never {}),
            Self::Stream(Stream { chunks, deadline }) => {
                let chunk = ready!(chunks.poll_recv(context)).unwrap_or(Err(Broken));
                if chunk.is_ok() {
                    deadline.extend();
                }
                Poll::Ready(if chunk == Ok(END) { None } else { Some(chunk.map(Frame::data)) })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use http_body_util::BodyExt;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn each_chunk_has_its_time_and_all_of_them_have_one() {
        let begun = Instant::now();
        for (seconds, want) in [(0, 60), (30, 90), (539, 599), (541, 600), (600, 600), (900, 600)] {
            let at = extended(begun, begun + Duration::from_secs(seconds));
            assert_eq!(at, begun + Duration::from_secs(want), "after {seconds} s");
        }
    }

    #[test]
    fn a_deadline_that_moves_is_reached_where_it_stands_then() {
        run(async {
            let (sooner, later) = (Duration::from_millis(5), Duration::from_millis(60));
            for (name, first, second) in
                [("put off", sooner, later), ("brought forward", Duration::from_secs(3600), later)]
            {
                let begun = Instant::now();
                let (at, cut) = watch::channel(begun + first);
                let cut = tokio::spawn(reached(cut));
                // It waits for the first one now.
                tokio::task::yield_now().await;
                at.send_replace(begun + second);
                cut.await.unwrap();
                assert!(begun.elapsed() >= second && begun.elapsed() < Duration::from_secs(20), "{name}");
            }
            let (deadline, cut) = Deadline::new();
            assert_eq!(*cut.borrow(), deadline.begun + MAX_AGE);
            let (_chunks, _body) = Body::stream(deadline.clone());
            assert!(*cut.borrow() >= deadline.begun + MAX_STALL, "an answer that is a stream has more time");
        });
    }

    #[test]
    fn what_a_thread_writes_arrives_and_a_fault_is_no_end() {
        run(async {
            let (mut chunks, body) = Body::stream(Deadline::new().0);
            let long = "a".repeat(CHUNK * (MAX_CHUNKS + 3)) + "b";
            let sent = long.clone();
            let thread = std::thread::spawn(move || {
                sent.as_bytes().chunks(999).try_for_each(|piece| chunks.write_all(piece))?;
                chunks.end()
            });
            assert_eq!(body.collect().await.unwrap().to_bytes(), long);
            thread.join().unwrap().unwrap();

            for fails in [true, false] {
                let (mut chunks, body) = Body::stream(Deadline::new().0);
                let thread = std::thread::spawn(move || {
                    chunks.write_all(b"a").and_then(|()| chunks.flush()).unwrap();
                    if fails {
                        chunks.fail();
                    }
                });
                assert_eq!(body.collect().await.unwrap_err(), Broken, "it says so: {fails}");
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn a_thread_learns_that_the_client_has_gone() {
        let (mut chunks, body) = Body::stream(Deadline::new().0);
        chunks.flush().unwrap();
        drop(body);
        assert_eq!(chunks.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(chunks.write_all(&[0; CHUNK]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
