//! Two processes and the messages between them: P4, P5 and P6.

use anyhow::Result;
use paddington_bench::{Child, Contender, Drive, Experiment, Job, Role, Sample, Scenario};

use super::{Settings, folder, prepare, progress, serve};

/// P4.
pub(crate) async fn ping(settings: &Settings) -> Result<Experiment> {
    let against = Contender::WebSocket;
    let title = "round trips between two processes; full stack: exchange, handler, acknowledgement";
    let contenders =
        [Contender::Sealed, Contender::WebSocket, Contender::Twice, Contender::Tcp, Contender::Hex];
    duel("P4", title, Scenario::Ping, &contenders, against, settings).await
}

/// P5.
pub(crate) async fn stream(settings: &Settings) -> Result<Experiment> {
    let against = Contender::Twice;
    let title = "messages one way between two processes, from accepted by send to handled";
    let contenders =
        [Contender::Sealed, Contender::Twice, Contender::WebSocket, Contender::Tcp, Contender::Hex];
    duel("P5", title, Scenario::Stream, &contenders, against, settings).await
}

const SIZES: [usize; 4] = [16, 256, 4 * 1024, 64 * 1024];

async fn duel(
    id: &str,
    title: &str,
    scenario: Scenario,
    contenders: &[Contender],
    against: Contender,
    settings: &Settings,
) -> Result<Experiment> {
    let mut experiment = Experiment::new(id, title, "B", Some(against.name()), "per s");
    for round in 0..settings.rounds {
        progress(&format!("{id}: round {} of {}", round + 1, settings.rounds));
        for size in SIZES {
            for contender in contenders {
                let job = Job { scenario, size, seconds: settings.seconds };
                let sample = once(*contender, job, settings).await?;
                experiment.add(contender.name(), size as f64, sample.numbers());
            }
        }
    }
    Ok(experiment)
}

/// One measurement by two new processes.
async fn once(contender: Contender, job: Job, settings: &Settings) -> Result<Sample> {
    let program = &settings.program;
    let folder = folder()?;
    prepare(contender, folder.path(), 1, 0)?;
    let mut server = serve(program, contender, folder.path())?;
    let address = server.hear().await?;
    let drive =
        Drive { contender, folder: folder.path().to_owned(), address, others: vec![server.id()?] };
    let mut driver = Child::start(program, &Role::Drive(drive, job))?;
    let sample = driver.hear().await?;
    driver.stop().await?;
    server.stop().await?;
    Ok(sample)
}
