//! The signals by which the operating system asks this process to end: what the first one and the
//! second one mean while a service runs, and that they have their default effect again afterwards.
//! Implements "Shutdown" of `docs/delivery.md`.

use paddington_exchange::ShutdownReport;
use tracing::{info, warn};

use crate::Service;

#[cfg(not(unix))]
pub use self::other::Signals;
#[cfg(unix)]
pub use self::unix::Signals;

impl Signals {
    /// Runs until the service has shut down. The first signal asks it to, the second one ends the
    /// shutdown at once.
    pub async fn run(mut self, service: &Service) -> ShutdownReport {
        let exchange = service.exchange();
        let asked = tokio::select! {
            report = exchange.finished() => return report,
            asked = self.first() => asked,
        };
        info!("asked to end by {}", asked.name());
        exchange.ask_to_shut_down();
        let report = tokio::select! {
            report = exchange.finished() => report,
            again = self.next() => {
                warn!("asked again, by {}: ending without waiting any longer", again.name());
                exchange.ask_to_shut_down_now();
                exchange.finished().await
            }
        };
        asked.end_detached_process();
        report
    }
}

#[cfg(unix)]
mod unix {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use signal_hook::flag::register_conditional_default;
    use signal_hook::low_level::emulate_default_handler;
    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tokio::time::sleep;
    use tracing::warn;

    /// Time within which copies of the first signal count as that one: a supervisor may send it to
    /// the process and to its group.
    const COPIES: Duration = Duration::from_millis(10);

    /// Time that a process has to end by itself after the shutdown that a signal asked for.
    const AFTERWARDS: Duration = Duration::from_secs(5);

    /// Who takes the signals of this process. Signals belong to the process, and so does this.
    static TAKEN: Mutex<Taken> = Mutex::new(Taken { services: 0, default: None });

    struct Taken {
        /// Number of services that wait for signals.
        services: usize,
        /// Whether signals have their default effect; `None` until the first service has run.
        default: Option<Arc<AtomicBool>>,
    }

    /// SIGINT and SIGTERM, taken for one service until this is dropped: they shut the service down
    /// and do not end the process by themselves. They are best taken before the service starts.
    ///
    /// ```no_run
    /// # use paddington::{Message, Service, ServiceConfig, Signals};
    /// # async fn ignore(_: Message) -> Result<(), paddington::Error> { Ok(()) }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let signals = Signals::take();
    /// let service = Service::start(&ServiceConfig::load("hub.toml")?, ignore).await?;
    /// println!("listening on {:?}", service.address());
    /// let report = signals.run(&service).await;
    /// println!("unsent: {:?}", report.unsent);
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct Signals {
        terminate: Option<Signal>,
        interrupt: Option<Signal>,
    }

    /// A signal that asks the process to end.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Asked {
        Terminate,
        Interrupt,
    }

    impl Signals {
        /// Takes the signals, so that they no longer end the process by themselves.
        ///
        /// # Panics
        ///
        /// Outside of a Tokio runtime.
        #[must_use]
        pub fn take() -> Self {
            let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            let default = taken.default.get_or_insert_with(|| {
                // Registered before the signals are taken: what comes first looks first. Otherwise
                // a service could have ended, and given the default effect back, before this looks.
                let default = Arc::new(AtomicBool::new(true));
                for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
                    // It fails only for signals that do not exist.
                    let _ = register_conditional_default(kind.as_raw_value(), Arc::clone(&default));
                }
                default
            });
            let signals = Self {
                terminate: signal(SignalKind::terminate()).ok(),
                interrupt: signal(SignalKind::interrupt()).ok(),
            };
            default.store(false, Ordering::SeqCst);
            taken.services += 1;
            signals
        }

        /// Resolves at the first signal, after its copies have arrived.
        pub(super) async fn first(&mut self) -> Asked {
            let asked = self.next().await;
            sleep(COPIES).await;
            let mut copies = true;
            while copies {
                copies = tokio::select! {
                    biased;
                    _ = self.next() => true,
                    () = ready(()) => false,
                };
            }
            asked
        }

        /// Resolves at the next signal.
        pub(super) async fn next(&mut self) -> Asked {
            tokio::select! {
                () = received(&mut self.terminate) => Asked::Terminate,
                () = received(&mut self.interrupt) => Asked::Interrupt,
            }
        }
    }

    impl Drop for Signals {
        /// Gives the signals their default effect back, unless another service waits for them.
        fn drop(&mut self) {
            let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            taken.services -= 1;
            if let (0, Some(default)) = (taken.services, &taken.default) {
                default.store(true, Ordering::SeqCst);
            }
        }
    }

    async fn received(signal: &mut Option<Signal>) {
        let received = match signal {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if received.is_none() {
            pending::<()>().await;
        }
    }

    impl Asked {
        pub(super) fn name(self) -> &'static str {
            match self {
                Self::Terminate => "SIGTERM",
                Self::Interrupt => "Ctrl-C",
            }
        }

        /// Ends the process a while after its service, if it was to end and does not: a service in
        /// a spawned task may be one that nobody waits for.
        pub(super) fn end_detached_process(self) {
            if tokio::task::try_id().is_none() {
                return; // the caller is not a spawned task: `main` goes on
            }
            let kind = match self {
                Self::Terminate => SignalKind::terminate(),
                Self::Interrupt => SignalKind::interrupt(),
            };
            tokio::spawn(async move {
                sleep(AFTERWARDS).await;
                warn!("the process did not end after its service: ended by {}", self.name());
                let _ = emulate_default_handler(kind.as_raw_value());
            });
        }
    }
}

#[cfg(not(unix))]
mod other {
    use tokio::signal::ctrl_c;

    /// Ctrl-C, taken for one service: it shuts the service down.
    #[derive(Debug)]
    pub struct Signals;

    /// A signal that asks the process to end.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Asked;

    impl Signals {
        /// Takes Ctrl-C.
        #[must_use]
        pub fn take() -> Self {
            Self
        }

        pub(super) async fn first(&mut self) -> Asked {
            self.next().await
        }

        pub(super) async fn next(&mut self) -> Asked {
            if ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Asked
        }
    }

    impl Asked {
        pub(super) fn name(self) -> &'static str {
            "Ctrl-C"
        }

        pub(super) fn end_detached_process(self) {}
    }
}
