//! The order of operations that use a connection of the pool: those of one link take effect in the
//! order of the calls, others at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use paddington_exchange::store::parts::{failed, stopped};
use paddington_exchange::store::{Answer, StoreError};
use paddington_wire::LinkId;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// The last operation of each link that has one.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    last: Mutex<Last>,
    running: TaskTracker,
}

#[derive(Debug, Default)]
struct Last {
    /// The number of the operation, and what resolves once it has ended.
    of: HashMap<LinkId, (u64, oneshot::Receiver<()>)>,
    count: u64,
}

impl Turns {
    /// Runs an operation once the earlier ones of these links have ended, whether or not its answer
    /// is awaited.
    pub(crate) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        links: Vec<LinkId>,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Answer<T> {
        if self.running.is_closed() {
            return failed(stopped());
        }
        let (mut earlier, mut ends) = (Vec::new(), Vec::new());
        let turn = {
            let mut last = self.lock();
            last.count += 1;
            let turn = last.count;
            for link in &links {
                let (end, ended) = oneshot::channel();
                match last.of.insert(*link, (turn, ended)) {
                    Some((before, ended)) if before != turn => earlier.push(ended),
                    _ => {}
                }
                ends.push(end);
            }
            turn
        };
        let turns = Arc::clone(self);
        let task = self.running.spawn(async move {
            for ended in earlier {
                // Whoever ends drops its half.
                let _ = ended.await;
            }
            let result = operation.await;
            turns.end(turn, &links);
            drop(ends);
            result
        });
        async move {
            task.await.unwrap_or_else(|_| Err(StoreError::unsure("the operation was broken off")))
        }
        .boxed()
    }

    /// Takes no more operations.
    pub(crate) fn close(&self) {
        self.running.close();
    }

    /// Waits until those that were taken have ended.
    pub(crate) async fn wait(&self) {
        self.running.wait().await;
    }

    fn end(&self, turn: u64, links: &[LinkId]) {
        let mut last = self.lock();
        for link in links {
            if last.of.get(link).is_some_and(|(newest, _)| *newest == turn) {
                last.of.remove(link);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_of_one_link_keep_their_order_and_others_do_not_wait() {
        let turns = Arc::new(Turns::default());
        let [one, other] = [1, 2].map(|byte| LinkId::from([byte; 16]));
        let (open, gate) = oneshot::channel::<()>();
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |number| {
            let order = Arc::clone(&order);
            async move {
                order.lock().unwrap().push(number);
                Ok(())
            }
        };
        let first = turns.run(vec![one], async move {
            gate.await.unwrap();
            Ok(())
        });
        drop(turns.run(vec![one, one], note(1)));
        let last = turns.run(vec![one, other], note(2));
        let next = turns.run(vec![other], note(3));
        turns.run(vec![LinkId::from([3; 16])], note(0)).await.unwrap();
        open.send(()).unwrap();
        for answer in [first, last, next] {
            answer.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
        assert!(turns.lock().of.is_empty());
    }
}
