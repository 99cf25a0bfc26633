//! Two processes and the messages between them: P4, P5, P6, P11 and P19.

use anyhow::{Context, Result};
use paddington_bench::{
    Child, Contender, Drive, Experiment, Job, Placement, Role, Sample, Scenario, promise,
};

use super::{Settings, folder, prepare, progress, serve};

/// Contenders, the way they are measured, and the one they are compared with.
struct Duel<'a> {
    id: &'a str,
    title: &'a str,
    scenario: Scenario,
    contenders: &'a [Contender],
    against: Contender,
    placement: Placement,
}

/// P4: once where the operating system puts the processes, and once with both on one core, where
/// the result depends only on the work.
pub(crate) async fn ping(settings: &Settings) -> Result<[Experiment; 2]> {
    let free = Duel {
        id: "P4",
        title: "round trips between two processes; full stack: exchange, handler, acknowledgement",
        scenario: Scenario::Ping,
        contenders: &[
            Contender::Sealed,
            Contender::WebSocket,
            Contender::Twice,
            Contender::Tcp,
            Contender::Hex,
        ],
        against: Contender::WebSocket,
        placement: Placement::Free,
    };
    let title = "the same with both processes on one core";
    let together = Duel { id: "P4c", title, placement: Placement::OneCore, ..free };
    Ok([free.fight(settings).await?, together.fight(settings).await?])
}

/// P11: one at a time, and many.
pub(crate) async fn requests(settings: &Settings) -> Result<[Experiment; 2]> {
    let one = Duel {
        id: "P11",
        title: "round trips of `request` between two processes, beside those of messages",
        scenario: Scenario::Ping,
        contenders: &[Contender::Sealed, Contender::Requests],
        against: Contender::Sealed,
        placement: Placement::Free,
    };
    let title = "the same with 64 in flight";
    let many = Duel { id: "P11m", title, scenario: Scenario::Many, ..one };
    Ok([one.fight(settings).await?, many.fight(settings).await?])
}

/// P19: one at a time, and many, compared with other systems.
pub(crate) async fn rpc(settings: &Settings) -> Result<[Experiment; 2]> {
    let contenders = [Contender::Requests, Contender::NatsRequests, Contender::Grpc];
    let one = Duel {
        id: "P19",
        title: "round trips of `request` between two processes, compared with other systems",
        scenario: Scenario::Ping,
        contenders: &contenders,
        against: Contender::Requests,
        placement: Placement::Free,
    };
    let title = "the same with 64 in flight";
    let many = Duel { id: "P19m", title, scenario: Scenario::Many, ..one };
    with_promises([one, many], settings).await
}

/// P5.
pub(crate) async fn stream(settings: &Settings) -> Result<Experiment> {
    let duel = Duel {
        id: "P5",
        title: "messages one way between two processes, from `send` to the handler",
        scenario: Scenario::Stream,
        contenders: &[
            Contender::Sealed,
            Contender::Twice,
            Contender::WebSocket,
            Contender::Tcp,
            Contender::Hex,
        ],
        against: Contender::Twice,
        placement: Placement::Free,
    };
    duel.fight(settings).await
}

/// P6: both scenarios, compared with other systems.
pub(crate) async fn compare(settings: &Settings) -> Result<[Experiment; 2]> {
    let contenders = [
        Contender::Sealed,
        Contender::ZeroMq,
        Contender::Nats,
        Contender::NatsTls,
        Contender::Iroh,
        Contender::Commonware,
        Contender::Tls,
        Contender::Naive,
    ];
    let stream = Duel {
        id: "P6",
        title: "messages one way between two processes, compared with other systems",
        scenario: Scenario::Stream,
        contenders: &contenders,
        against: Contender::Sealed,
        placement: Placement::Free,
    };
    let title = "round trips between two processes, compared with other systems";
    let ping = Duel { id: "P6p", title, scenario: Scenario::Ping, ..stream };
    with_promises([stream, ping], settings).await
}

/// Measures two duels of the same contenders. The guarantees of each are notes of the first one.
async fn with_promises(duels: [Duel<'_>; 2], settings: &Settings) -> Result<[Experiment; 2]> {
    let [first, second] = duels;
    let promises = first.contenders.iter().map(|it| format!("{}: {}.", it.name(), promise(*it)));
    let mut measured = first.fight(settings).await?;
    measured.notes.extend(promises);
    Ok([measured, second.fight(settings).await?])
}

impl Duel<'_> {
    async fn fight(&self, settings: &Settings) -> Result<Experiment> {
        let Self { id, title, against, .. } = self;
        let mut experiment = Experiment::new(id, title, "B", Some(against.name()), "per s");
        let mut out = Vec::new();
        for round in 0..settings.rounds {
            progress(&format!("{id}: round {} of {}", round + 1, settings.rounds));
            for size in settings.sizes.iter().copied() {
                for contender in self.contenders {
                    if out.contains(contender) || !settings.takes_part(*contender) {
                        continue;
                    }
                    match self.once(*contender, size, settings).await {
                        Ok(sample) => {
                            experiment.add(contender.name(), size as f64, sample.numbers());
                        }
                        Err(error) if contender.is_foreign() => {
                            progress(&format!("{} is skipped: {error:#}", contender.name()));
                            out.push(*contender);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(experiment)
    }

    /// Makes one measurement with two new processes.
    async fn once(&self, contender: Contender, size: usize, settings: &Settings) -> Result<Sample> {
        let program = match (&settings.foreign, contender.is_foreign()) {
            (Some(foreign), true) => foreign,
            (None, true) => None.context("paddington-compare is not built: make bench-compare")?,
            (_, false) => &settings.program,
        };
        let job = Job { scenario: self.scenario, size, seconds: settings.seconds };
        let folder = folder()?;
        prepare(contender, folder.path(), 1, 0)?;
        let mut server = serve(program, contender, folder.path(), self.placement)?;
        let address = server.hear().await?;
        let others = vec![server.id()?];
        let drive = Drive { contender, folder: folder.path().to_owned(), address, others };
        let mut driver = Child::start_on(program, &Role::Drive(drive, job), self.placement)?;
        let sample = driver.hear().await?;
        driver.stop().await?;
        server.stop().await?;
        Ok(sample)
    }
}
