//! The way to ask the running proxy for something: a reload, its end.
//! Not here: carrying it out (`server`), what a reload came to (`reloads`).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::runtime::reloads::Reload;

/// Upper bound of calls that wait for a reload while another one reads.
const MAX_WAITING: usize = 4;

/// What an order to reload came to.
pub type Came = Result<Arc<Reload>, NotRead>;

/// Somebody's order to reload. Whoever carries it out, or refuses to, puts it on record: the caller may have gone by then.
#[derive(Debug)]
pub struct Order {
    /// The name of the caller's token.
    pub actor: Arc<str>,
    /// Where the call came from.
    pub client: SocketAddr,
    /// The diff that the caller confirms, by its SHA-256.
    pub confirm: Option<String>,
    tells: oneshot::Sender<Came>,
}

/// The way to ask the server for something.
#[derive(Debug)]
pub struct Orders {
    reloads: mpsc::Sender<Order>,
    stop: Arc<Notify>,
}

/// Where the server hears of it.
#[derive(Debug)]
pub struct Ordered {
    reloads: mpsc::Receiver<Order>,
    stop: Arc<Notify>,
}

/// Why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRead {
    /// So many calls wait for a reload already.
    Busy,
    /// The proxy ends.
    Draining,
}

impl Order {
    /// Lets the caller know, who may have gone.
    pub fn tell(self, came: Came) {
        let _ = self.tells.send(came);
    }
}

/// Both ends of the way to the server.
pub fn orders() -> (Orders, Ordered) {
    let (asks, reloads) = mpsc::channel(MAX_WAITING);
    let stop = Arc::new(Notify::new());
    (Orders { reloads: asks, stop: Arc::clone(&stop) }, Ordered { reloads, stop })
}

impl Orders {
    /// Orders that what is on disk from now on is read again. What comes of it is told to whoever waits, and done without them too.
    ///
    /// # Errors
    /// See [`NotRead`]: nobody has the order then.
    pub fn reload(
        &self,
        (actor, client): (Arc<str>, SocketAddr),
        confirm: Option<String>,
    ) -> Result<oneshot::Receiver<Came>, NotRead> {
        let (tells, told) = oneshot::channel();
        self.reloads.try_send(Order { actor, client, confirm, tells }).map_err(|error| match error {
            TrySendError::Full(_) => NotRead::Busy,
            TrySendError::Closed(_) => NotRead::Draining,
        })?;
        Ok(told)
    }

    /// Ends the proxy as SIGTERM does.
    pub fn stop(&self) {
        self.stop.notify_one();
    }
}

impl Ordered {
    /// The next order to reload.
    pub async fn reload(&mut self) -> Option<Order> {
        self.reloads.recv().await
    }

    /// Takes no more orders, and gives those that nobody has carried out.
    pub fn close(&mut self) -> impl Iterator<Item = Order> {
        self.reloads.close();
        std::iter::from_fn(|| self.reloads.try_recv().ok())
    }

    /// Ends when the proxy is to end.
    pub fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let stop = Arc::clone(&self.stop);
        async move { stop.notified().await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;
    use crate::runtime::reloads::{Asked, Cause, Outcome, Parts};

    fn reload() -> Reload {
        let parts = Parts { admin_files: false, listener_files: false };
        Reload::new(clock::now(), Asked { by: Cause::Signal, actor: None }, parts, Outcome::Failed)
    }

    #[test]
    fn whoever_asks_is_told_and_no_more_wait_than_may() {
        let (orders, mut ordered) = orders();
        let order = |actor: &str| orders.reload((actor.into(), "127.0.0.1:9".parse().unwrap()), Some("ab".to_owned()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let came = Ok(Arc::new(reload()));
        let mut told = order("ops").unwrap();
        let first = runtime.block_on(ordered.reload()).unwrap();
        assert_eq!((&*first.actor, first.client.port(), first.confirm.as_deref()), ("ops", 9, Some("ab")));
        first.tell(came.clone());
        assert_eq!(told.try_recv(), Ok(came.clone()));
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|number| order(&number.to_string()).unwrap()).collect();
        assert_eq!(order("one more").unwrap_err(), NotRead::Busy);
        drop(waiting.remove(0));
        runtime.block_on(ordered.reload()).unwrap().tell(came);
        for order in ordered.close() {
            order.tell(Err(NotRead::Draining));
        }
        for mut told in waiting {
            assert_eq!(told.try_recv(), Ok(Err(NotRead::Draining)), "none is forgotten");
        }
        assert_eq!(order("too late").unwrap_err(), NotRead::Draining);
    }

    #[test]
    fn an_end_that_was_ordered_before_anybody_listens_is_heard() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (orders, ordered) = orders();
            orders.stop();
            ordered.stopped().await;
        });
    }
}
