//! Tells when files that were read hold something else: the configuration and all that it names.
//! Not here: reading them for good (`load`), what comes of it (`server`). The kernel tells at once where it can; beside that files are looked
//! at from time to time. Only what they hold counts, so one change is one reload, however it came about.

mod eyes;
mod settling;

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task;
use tokio::time::{Instant, sleep_until};

use crate::config::Reload;
use crate::runtime::load::Inventory;
use crate::runtime::shared::Shared;
use eyes::Eyes;
use settling::Settling;

/// What was read last, and whether changes of it are looked for.
#[derive(Debug, Clone)]
struct Known {
    inventory: Arc<Inventory>,
    settings: Reload,
}

/// How files are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watching {
    /// Whether they are, and how often they are looked at.
    pub settings: Reload,
    /// Folders of which the kernel tells.
    pub folders: usize,
    /// Why it doesn't tell of all.
    pub fault: Option<String>,
}

/// The server's end: what was read, and what is seen to have changed.
#[derive(Debug)]
pub struct Watch {
    known: watch::Sender<Known>,
    changes: mpsc::Receiver<Inventory>,
}

/// The other end, which looks.
pub struct Lookout {
    known: watch::Receiver<Known>,
    tells: mpsc::Sender<Inventory>,
    shared: Arc<Shared>,
    eyes: io::Result<Eyes>,
}

impl Watch {
    /// Begins with what was read at the start. Inside a runtime.
    pub fn begin(shared: Arc<Shared>, inventory: Inventory, settings: Reload) -> (Self, Lookout) {
        let (known, reads) = watch::channel(Known { inventory: Arc::new(inventory), settings });
        let (tells, changes) = mpsc::channel(1);
        (Self { known, changes }, Lookout { known: reads, tells, shared, eyes: Eyes::open() })
    }

    /// This was read, whatever came of it: from now on others are changes. Gives how many files differ from what was read before.
    pub fn read(&self, inventory: Inventory, settings: Reload) -> usize {
        let before = self.known.send_replace(Known { inventory: Arc::new(inventory), settings });
        before.inventory.differing(&self.known.borrow().inventory)
    }

    /// Once files hold something else than what was read last. To be called while nothing is being read.
    pub async fn changed(&mut self) {
        // The lookout ends with the server alone.
        while let Some(seen) = self.changes.recv().await {
            if !seen.is_same(&self.known.borrow().inventory) {
                return;
            }
        }
        std::future::pending().await
    }
}

impl Lookout {
    /// Looks until the task is dropped.
    pub async fn look_out(mut self) {
        let mut settling = Settling::default();
        loop {
            let Known { inventory, settings } = self.known.borrow_and_update().clone();
            self.watch(&inventory, settings);
            if !settings.on_change {
                if self.known.changed().await.is_err() {
                    return;
                }
                continue;
            }
            // What has changed since it was read, before its folders were watched, nobody tells.
            settling.restart(Instant::now());
            if self.seek(&inventory, settings, &mut settling).await.is_err() {
                return;
            }
        }
    }

    /// Until something else was read. An error: nobody listens any more.
    async fn seek(
        &mut self,
        inventory: &Arc<Inventory>,
        settings: Reload,
        settling: &mut Settling,
    ) -> Result<(), Gone> {
        let mut poll = Instant::now() + settings.poll;
        loop {
            let due = settling.due().unwrap_or(poll).min(poll);
            tokio::select! {
                changed = self.known.changed() => return changed.map_err(|_| Gone),
                stirred = stirred(&self.eyes) => match stirred {
                    Ok(()) => settling.stir(Instant::now()),
                    Err(error) => self.eyes = Err(error),
                },
                () = sleep_until(due) => {
                    let known = Arc::clone(inventory);
                    // Reading large policies takes a moment, in which others are served.
                    let Ok(seen) = task::spawn_blocking(move || known.look()).await else { return Err(Gone) };
                    let now = Instant::now();
                    poll = now + settings.poll;
                    // Folders may have come and gone.
                    self.watch(&seen, settings);
                    if let Some(seen) = settling.look(now, seen, inventory) {
                        self.tells.send(seen).await.map_err(|_| Gone)?;
                    }
                }
            }
        }
    }

    /// Watches the folders of what is known, and says once if that can't be done.
    fn watch(&mut self, inventory: &Inventory, settings: Reload) {
        let (folders, fault) = match &mut self.eyes {
            Err(error) => (0, Some(error.to_string())),
            Ok(eyes) => {
                let nothing = Inventory::default();
                let (folders, result) = eyes.watch(if settings.on_change { inventory } else { &nothing });
                (folders, result.err().map(|error| error.to_string()))
            }
        };
        let before = self.shared.watching().and_then(|before| before.fault.clone());
        if let Some(fault) = fault.as_ref().filter(|fault| settings.on_change && before.as_ref() != Some(fault)) {
            tracing::warn!(fault, poll = ?settings.poll, "the kernel does not tell of all changes of files; they are looked for instead");
        }
        self.shared.set_watching(Watching { settings, folders, fault });
    }
}

/// Nobody listens any more.
struct Gone;

async fn stirred(eyes: &io::Result<Eyes>) -> io::Result<()> {
    match eyes {
        Ok(eyes) => eyes.stirred().await,
        Err(_) => std::future::pending().await,
    }
}
