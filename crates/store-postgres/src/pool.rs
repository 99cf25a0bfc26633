//! Connections for claims and reads, opened when they are needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connect::{Commits, Connection, Target};
use crate::error::Fault;

/// Connections of which each is used by one operation at a time.
pub(crate) struct Pool {
    target: Target,
    commits: Commits,
    idle: Mutex<Vec<Arc<Connection>>>,
    places: Arc<Semaphore>,
}

/// A connection that goes back to its pool when it is given back, and else is closed.
pub(crate) struct Taken {
    pub(crate) connection: Arc<Connection>,
    place: OwnedSemaphorePermit,
}

impl Pool {
    /// Creates a pool of up to `size` connections.
    pub(crate) fn new(target: Target, commits: Commits, size: usize) -> Self {
        Self { target, commits, idle: Mutex::default(), places: Arc::new(Semaphore::new(size)) }
    }

    pub(crate) async fn take(&self) -> Result<Taken, Fault> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| Fault::refused("the store is closed"))?;
        let idle = {
            let mut idle = self.lock();
            idle.retain(|connection| !connection.is_ended());
            idle.pop()
        };
        let connection = match idle {
            Some(connection) => connection,
            None => self.target.open(self.commits, None).await?,
        };
        Ok(Taken { connection, place })
    }

    /// Takes a connection back. One in the middle of a transaction must not come back.
    pub(crate) fn give_back(&self, taken: Taken) {
        if !taken.connection.is_ended() {
            self.lock().push(taken.connection);
        }
        drop(taken.place);
    }

    pub(crate) fn close(&self) {
        self.places.close();
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
