//! What many callers ask for at a time, as few statements: while one runs, the next one gathers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paddington_exchange::store::parts::{Waiter, ask};
use paddington_exchange::store::{Answer, StoreError};

/// The most items of one statement.
const MOST: usize = 256;
/// The most bytes of one statement with more than one item.
const MOST_BYTES: usize = 4 << 20;

/// Items that wait for a statement, in their order.
#[derive(Debug)]
pub(crate) struct Batches<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(T, usize, Waiter<()>)>,
    /// Whether a task writes.
    is_running: bool,
}

impl<T> Default for Batches<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { waiting: VecDeque::new(), is_running: false }) }
    }
}

impl<T: Send + 'static> Batches<T> {
    /// Adds an item of so many bytes. `write` writes the items of a batch, after those before.
    pub(crate) fn add<F>(
        self: &Arc<Self>,
        item: T,
        bytes: usize,
        write: impl Fn(Vec<T>) -> F + Send + 'static,
    ) -> Answer<()>
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let mut state = self.lock();
        let answer = ask(|waiter| state.waiting.push_back((item, bytes, waiter)));
        if !std::mem::replace(&mut state.is_running, true) {
            tokio::spawn(Arc::clone(self).run(write));
        }
        answer
    }

    async fn run<F>(self: Arc<Self>, write: impl Fn(Vec<T>) -> F + Send)
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        while let Some((items, waiters)) = self.next() {
            let result = write(items).await;
            for waiter in waiters {
                let _ = waiter.send(result.clone());
            }
        }
    }

    /// Takes the next batch. If there is none, the task ends.
    fn next(&self) -> Option<(Vec<T>, Vec<Waiter<()>>)> {
        let mut state = self.lock();
        let (mut items, mut waiters, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((_, more, _)) = state.waiting.front()
            && items.len() < MOST
            && (items.is_empty() || bytes + more <= MOST_BYTES)
        {
            let Some((item, more, waiter)) = state.waiting.pop_front() else { break };
            bytes += more;
            items.push(item);
            waiters.push(waiter);
        }
        state.is_running = !items.is_empty();
        state.is_running.then_some((items, waiters))
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_comes_while_a_statement_runs_goes_into_the_next_ones() {
        let batches = Arc::new(Batches::default());
        let (gate, written) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let add = |item: usize, bytes| {
            let (gate, written) = (Arc::clone(&gate), Arc::clone(&written));
            batches.add(item, bytes, move |items| {
                let (gate, written) = (Arc::clone(&gate), Arc::clone(&written));
                async move {
                    gate.acquire().await.unwrap().forget();
                    written.lock().unwrap().push(items);
                    Ok(())
                }
            })
        };
        let first = add(0, 1);
        tokio::task::yield_now().await;
        let mut rest: Vec<_> = (1..=MOST + 1).map(|item| add(item, 1)).collect();
        rest.extend([MOST_BYTES, 1].map(|bytes| add(9_999, bytes)));
        gate.add_permits(10);
        first.await.unwrap();
        join_all(rest).await.into_iter().for_each(|it| it.unwrap());
        let lengths: Vec<_> = written.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, MOST, 1, 1, 1]);
        let order: Vec<_> = written.lock().unwrap()[..3].concat();
        assert_eq!(order, (0..=MOST + 1).collect::<Vec<_>>());
    }
}
