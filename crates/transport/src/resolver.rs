//! Resolves names by the functions of the operating system, which block and cannot be interrupted.
//!
//! **Provided:** one lookup of a name at a time, whoever asks; a bounded number of threads, which
//! nobody waits for at the end of a process; names that were answered promptly the last time are not
//! behind names whose servers are silent. **Not provided:** a cache, and an end of a lookup that
//! hangs: whoever asks has a deadline of its own.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::sync::watch;

/// Number of lookups that run at the same time, each on a thread of its own.
const LOOKUPS: usize = 64;
/// Number of these that may be for names whose last lookup was not prompt, or that had none.
const DOUBTFUL_LOOKUPS: usize = 56;
/// Number of these that may be for names whose last lookup was slow.
const SLOW_LOOKUPS: usize = 48;
/// The duration from which on a lookup is slow.
const SLOW: Duration = Duration::from_secs(2);
/// Number of names that are remembered; the least recent is forgotten first.
const KNOWN_NAMES: usize = 4_096;

/// The operating system's function, or a test's.
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The result of a lookup, once it has ended.
type Answer = Option<Result<Vec<SocketAddr>, Failure>>;

/// An error of the operating system, for everybody who has asked.
#[derive(Clone, Debug)]
struct Failure {
    kind: io::ErrorKind,
    text: String,
}

/// A resolver. Copies are the same resolver.
#[derive(Clone)]
pub(crate) struct Resolver {
    lookup: Arc<Lookup>,
    state: Arc<Mutex<State>>,
}

/// The lookups of a resolver.
struct State {
    /// Those that run or wait, by name, with everybody who has asked.
    asked: HashMap<Arc<str>, watch::Sender<Answer>>,
    /// The names that wait for a thread, by their pace and in the order in which they were asked for.
    waiting: [VecDeque<Arc<str>>; 3],
    /// How names were answered the last time.
    known: LruCache<Arc<str>, Pace>,
    /// Number of running lookups of names of each pace.
    running: [usize; 3],
}

/// How a name was answered the last time. Those of an earlier variant go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Prompt,
    Unknown,
    Slow,
}

/// A lookup that may run.
#[derive(Clone)]
struct Job {
    name: Arc<str>,
    pace: Pace,
}

impl Resolver {
    /// Uses the functions of the operating system.
    pub(crate) fn system() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    fn new(lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), state: Arc::default() }
    }

    /// Resolves `host`. An address is its own answer, at once.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut asked = self.ask(host);
        let answer = match asked.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        match answer {
            Some(Ok(mut addresses)) => {
                addresses.iter_mut().for_each(|address| address.set_port(port));
                Ok(addresses)
            }
            Some(Err(failure)) => Err(io::Error::new(failure.kind, failure.text)),
            None => Err(io::Error::other("no thread could be started for it")),
        }
    }

    /// Joins the lookup of a name, or begins one.
    fn ask(&self, name: &str) -> watch::Receiver<Answer> {
        let (asked, job) = {
            let mut state = self.lock();
            let asked = state.ask(name);
            (asked, state.next())
        };
        if let Some(job) = job {
            self.start(&job);
        }
        asked
    }

    /// Runs a lookup on a new thread, and then others, until none may run.
    fn start(&self, job: &Job) {
        let (resolver, first) = (self.clone(), job.clone());
        let run = move || {
            let mut next = Some(first);
            while let Some(job) = next {
                next = resolver.run(&job);
            }
        };
        if thread::Builder::new().name("paddington-name".to_owned()).spawn(run).is_err() {
            self.lock().end(job, job.pace, None);
        }
    }

    /// Runs a lookup, and returns the next one.
    fn run(&self, job: &Job) -> Option<Job> {
        let begun = Instant::now();
        let answer = (self.lookup)(&job.name)
            .map_err(|error| Failure { kind: error.kind(), text: error.to_string() });
        let mut state = self.lock();
        let pace = if begun.elapsed() >= SLOW { Pace::Slow } else { Pace::Prompt };
        state.end(job, pace, Some(answer));
        state.next()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for State {
    fn default() -> Self {
        let names = NonZeroUsize::new(KNOWN_NAMES).unwrap_or(NonZeroUsize::MIN);
        Self {
            asked: HashMap::new(),
            waiting: Default::default(),
            known: LruCache::new(names),
            running: [0; 3],
        }
    }
}

impl State {
    fn ask(&mut self, name: &str) -> watch::Receiver<Answer> {
        if let Some(asked) = self.asked.get(name) {
            return asked.subscribe();
        }
        let name: Arc<str> = name.into();
        let pace = self.known.peek(&name).copied().unwrap_or(Pace::Unknown);
        self.waiting[pace as usize].push_back(Arc::clone(&name));
        let (sender, asked) = watch::channel(None);
        self.asked.insert(name, sender);
        asked
    }

    /// Takes the next lookup that may run. Those that nobody waits for any more are left out.
    fn next(&mut self) -> Option<Job> {
        loop {
            let pace = [Pace::Prompt, Pace::Unknown, Pace::Slow]
                .into_iter()
                .find(|pace| !self.waiting[*pace as usize].is_empty() && self.may_run(*pace))?;
            let name = self.waiting[pace as usize].pop_front()?;
            if self.asked.get(&name).is_some_and(|asked| asked.receiver_count() > 0) {
                self.running[pace as usize] += 1;
                return Some(Job { name, pace });
            }
            self.asked.remove(&name);
        }
    }

    fn may_run(&self, pace: Pace) -> bool {
        let [prompt, unknown, slow] = self.running;
        let doubtful = unknown + slow;
        prompt + doubtful < LOOKUPS
            && (pace == Pace::Prompt || doubtful < DOUBTFUL_LOOKUPS)
            && (pace != Pace::Slow || slow < SLOW_LOOKUPS)
    }

    /// Ends a lookup. Without an answer, whoever asked is told that there is none.
    fn end(&mut self, job: &Job, pace: Pace, answer: Answer) {
        self.running[job.pace as usize] -= 1;
        if pace != Pace::Unknown {
            self.known.put(Arc::clone(&job.name), pace);
        }
        if let Some(asked) = self.asked.remove(&job.name) {
            asked.send_replace(answer);
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;

    use super::*;

    /// A resolver whose lookups hang until they are let go, except those of `localhost`.
    struct Silent {
        resolver: Resolver,
        seen: Arc<(Mutex<Seen>, Condvar)>,
    }

    #[derive(Default)]
    struct Seen {
        names: Vec<String>,
        answers: bool,
    }

    impl Silent {
        fn new() -> Self {
            let seen: Arc<(Mutex<Seen>, Condvar)> = Arc::default();
            let shared = Arc::clone(&seen);
            let resolver = Resolver::new(move |name| {
                let (seen, changed) = &*shared;
                let mut seen = seen.lock().unwrap();
                seen.names.push(name.to_owned());
                changed.notify_all();
                while name != "localhost" && !seen.answers {
                    seen = changed.wait(seen).unwrap();
                }
                Ok(vec!["192.0.2.1:0".parse().unwrap()])
            });
            Self { resolver, seen }
        }

        /// Waits until so many lookups have begun, and returns their names.
        fn begun(&self, number: usize) -> Vec<String> {
            let mut seen = self.seen.0.lock().unwrap();
            while seen.names.len() < number {
                seen = self.seen.1.wait(seen).unwrap();
            }
            seen.names.clone()
        }

        fn answer(&self) {
            self.seen.0.lock().unwrap().answers = true;
            self.seen.1.notify_all();
        }
    }

    #[tokio::test]
    async fn addresses_and_other_names_do_not_wait_for_a_name_that_hangs() {
        let silent = Silent::new();
        let _hangs = silent.resolver.ask("hangs");
        silent.begun(1);
        for address in ["192.0.2.7", "2001:db8::7"] {
            let found = silent.resolver.resolve(address, 6).await.unwrap();
            assert_eq!(found, [SocketAddr::new(address.parse().unwrap(), 6)]);
        }
        let found = silent.resolver.resolve("localhost", 7).await.unwrap();
        assert_eq!(found, ["192.0.2.1:7".parse().unwrap()]);
        assert_eq!(silent.begun(2), ["hangs", "localhost"]);
        silent.answer();
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_at_a_time_whoever_asks_and_gives_up() {
        let silent = Silent::new();
        for _ in 0..100 {
            drop(silent.resolver.ask("hangs")); // the deadline of an attempt
        }
        let asked: Vec<_> = (0..100).map(|_| silent.resolver.ask("hangs")).collect();
        assert_eq!(silent.begun(1), ["hangs"]);
        silent.answer();
        for mut asked in asked {
            let answer = asked.wait_for(Option::is_some).await.unwrap().clone();
            assert_eq!(answer.unwrap().unwrap().len(), 1);
        }
        silent.resolver.resolve("hangs", 1).await.unwrap();
        assert_eq!(silent.begun(2).len(), 2, "names are resolved anew for each attempt");
    }

    #[tokio::test]
    async fn six_hundred_names_that_hang_take_a_bounded_number_of_threads() {
        let silent = Silent::new();
        silent.resolver.resolve("localhost", 1).await.unwrap();
        let names: Vec<_> = (0..600).map(|number| format!("hangs-{number}")).collect();
        let asked: Vec<_> = names.iter().map(|name| silent.resolver.ask(name)).collect();
        assert_eq!(silent.begun(1 + DOUBTFUL_LOOKUPS).len(), 1 + DOUBTFUL_LOOKUPS);
        assert_eq!(silent.resolver.lock().running, [0, DOUBTFUL_LOOKUPS, 0]);
        silent.resolver.resolve("localhost", 1).await.unwrap();
        drop(asked);
        silent.answer();
        silent.resolver.resolve("last", 1).await.unwrap();
        assert_eq!(silent.begun(0).len(), DOUBTFUL_LOOKUPS + 3, "nobody waits for the others");
    }

    #[test]
    fn names_that_were_slow_do_not_take_the_threads_of_others() {
        let mut state = State::default();
        let names: Vec<_> = (0..600).map(|number| format!("hangs-{number}")).collect();
        let first: Vec<_> = names.iter().map(|name| state.ask(name)).collect();
        let mut jobs: VecDeque<_> = std::iter::from_fn(|| state.next()).collect();
        while let Some(job) = jobs.pop_front() {
            state.end(&job, Pace::Slow, Some(Ok(Vec::new())));
            jobs.extend(std::iter::from_fn(|| state.next()));
        }
        drop(first);
        let again: Vec<_> = names.iter().map(|name| state.ask(name)).collect();
        assert_eq!(std::iter::from_fn(|| state.next()).count(), SLOW_LOOKUPS);
        for number in 0..1_000 {
            let name = format!("good-{number}");
            let _asked = state.ask(&name);
            let job = state.next().unwrap();
            assert_eq!(*job.name, *name);
            state.end(&job, Pace::Prompt, Some(Ok(Vec::new())));
        }
        assert!(state.next().is_none());
        drop(again);
    }

    #[test]
    fn a_runtime_ends_while_a_lookup_hangs() {
        let silent = Silent::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let resolver = silent.resolver.clone();
        runtime.spawn(async move { resolver.resolve("hangs", 1).await });
        silent.begun(1);
        drop(runtime); // waits for all blocking tasks of the runtime
        silent.answer();
    }
}
