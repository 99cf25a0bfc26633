//! What many callers ask for at a time, as few statements: while some run, the next one gathers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paddington_exchange::store::parts::{Waiter, ask};
use paddington_exchange::store::{Answer, StoreError};

/// The most bytes of one statement with more than one item.
const MOST_BYTES: usize = 4 << 20;

/// Items that wait for a statement, in their order, and each for an answer.
#[derive(Debug)]
pub(crate) struct Batches<T, R = ()> {
    state: Mutex<State<T, R>>,
    /// How many statements run at a time.
    at_once: usize,
    /// The most items of one statement.
    most: usize,
}

#[derive(Debug)]
struct State<T, R> {
    waiting: VecDeque<Item<T, R>>,
    /// The number of tasks that run statements.
    running: usize,
}

#[derive(Debug)]
struct Item<T, R> {
    item: T,
    bytes: usize,
    waiter: Waiter<R>,
}

/// What a statement has done.
#[derive(Debug)]
pub(crate) struct Done<T, R = ()> {
    /// The answers to the first items, in their order.
    pub(crate) answers: Vec<Result<R, StoreError>>,
    /// The items after these. They go into the next statement.
    pub(crate) left: Vec<T>,
}

impl<T, R> Done<T, R> {
    pub(crate) fn all(answers: Vec<Result<R, StoreError>>) -> Self {
        Self { answers, left: Vec::new() }
    }
}

impl<T: Send + 'static, R: Send + 'static> Batches<T, R> {
    /// Runs `at_once` statements at a time, each with `most` items at most. With one, items keep their order.
    pub(crate) fn new(at_once: usize, most: usize) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), running: 0 });
        Self { state, at_once, most }
    }

    /// Adds an item of so many bytes. `run` runs a statement.
    pub(crate) fn add<F>(
        self: &Arc<Self>,
        item: T,
        bytes: usize,
        run: impl Fn(Vec<T>) -> F + Send + 'static,
    ) -> Answer<R>
    where
        F: Future<Output = Done<T, R>> + Send + 'static,
    {
        let mut state = self.lock();
        let answer = ask(|waiter| state.waiting.push_back(Item { item, bytes, waiter }));
        if state.running < self.at_once {
            state.running += 1;
            tokio::spawn(Arc::clone(self).run(run));
        }
        answer
    }

    async fn run<F>(self: Arc<Self>, run: impl Fn(Vec<T>) -> F + Send)
    where
        F: Future<Output = Done<T, R>> + Send + 'static,
    {
        // What tasks ask for that are ready already goes into the same statement.
        tokio::task::yield_now().await;
        while let Some((items, waiters)) = self.next() {
            let Done { answers, left } = run(items).await;
            let mut waiters = waiters.into_iter();
            for (answer, (_, waiter)) in answers.into_iter().zip(waiters.by_ref()) {
                let _ = waiter.send(answer);
            }
            let left = left.into_iter().zip(waiters);
            let left: Vec<_> =
                left.map(|(item, (bytes, waiter))| Item { item, bytes, waiter }).collect();
            let mut state = self.lock();
            left.into_iter().rev().for_each(|item| state.waiting.push_front(item));
        }
    }

    /// Takes the next batch. If there is none, the task ends.
    fn next(&self) -> Option<Batch<T, R>> {
        let mut state = self.lock();
        let (mut items, mut waiters, mut all) = (Vec::new(), Vec::new(), 0);
        while let Some(next) = state.waiting.front()
            && items.len() < self.most
            && (items.is_empty() || all + next.bytes <= MOST_BYTES)
        {
            let Some(Item { item, bytes, waiter }) = state.waiting.pop_front() else { break };
            all += bytes;
            items.push(item);
            waiters.push((bytes, waiter));
        }
        if items.is_empty() {
            state.running -= 1;
            return None;
        }
        Some((items, waiters))
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The items of a statement, and the size and the waiter of each.
type Batch<T, R> = (Vec<T>, Vec<(usize, Waiter<R>)>);

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    const MOST: usize = 256;

    type Written = Arc<Mutex<Vec<Vec<usize>>>>;

    /// Adds an item. A statement waits for the gate, and leaves the items after the first `fit`.
    fn add(
        batches: &Arc<Batches<usize, usize>>,
        (gate, written): (&Arc<Semaphore>, &Written),
        (item, bytes): (usize, usize),
        fit: usize,
    ) -> Answer<usize> {
        let (gate, written) = (Arc::clone(gate), Arc::clone(written));
        batches.add(item, bytes, move |mut items| {
            let (gate, written) = (Arc::clone(&gate), Arc::clone(&written));
            async move {
                gate.acquire().await.unwrap().forget();
                let left = items.split_off(fit.min(items.len()));
                let answers = items.iter().map(|item| Ok(*item)).collect();
                written.lock().unwrap().push(items);
                Done { answers, left }
            }
        })
    }

    #[tokio::test]
    async fn what_comes_while_a_statement_runs_goes_into_the_next_ones() {
        let batches = Arc::new(Batches::new(1, MOST));
        let (gate, written) = (Arc::new(Semaphore::new(0)), Written::default());
        let add = |item, bytes| add(&batches, (&gate, &written), (item, bytes), usize::MAX);
        let first = add(0, 1);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let mut rest: Vec<_> = (1..=MOST + 1).map(|item| add(item, 1)).collect();
        rest.extend([MOST_BYTES, 1].map(|bytes| add(9_999, bytes)));
        gate.add_permits(10);
        assert_eq!(first.await.unwrap(), 0);
        assert!(join_all(rest).await.iter().all(Result::is_ok));
        let lengths: Vec<_> = written.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, MOST, 1, 1, 1]);
        let order: Vec<_> = written.lock().unwrap()[..3].concat();
        assert_eq!(order, (0..=MOST + 1).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_is_asked_at_the_same_moment_is_one_statement_and_what_does_not_fit_is_the_next() {
        let batches = Arc::new(Batches::new(1, MOST));
        let (gate, written) = (Arc::new(Semaphore::new(9)), Written::default());
        let all: Vec<_> = (0..5).map(|it| add(&batches, (&gate, &written), (it, 0), 2)).collect();
        let answers: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [0, 1, 2, 3, 4], "each has its own answer");
        assert_eq!(*written.lock().unwrap(), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(batches.lock().running, 0);
    }

    #[tokio::test]
    async fn as_many_statements_as_allowed_run_at_a_time() {
        let batches = Arc::new(Batches::new(2, 1));
        let (gate, written) = (Arc::new(Semaphore::new(0)), Written::default());
        let all: Vec<_> = (0..3).map(|it| add(&batches, (&gate, &written), (it, 0), 9)).collect();
        for _ in 0..9 {
            tokio::task::yield_now().await;
        }
        let state = {
            let state = batches.lock();
            (state.running, state.waiting.len())
        };
        assert_eq!(state, (2, 1));
        gate.add_permits(3);
        assert!(join_all(all).await.iter().all(Result::is_ok));
    }
}
