//! P10: from the start of both processes to the first message.

use std::time::Instant;

use anyhow::Result;
use paddington_bench::{Child, Contender, Experiment, Numbers, Role, Serve, free_port};

use super::{Settings, folder, prepare, progress};

/// P10.
pub(crate) async fn startup(settings: &Settings) -> Result<Experiment> {
    let title = "from the start of both processes to the first message handled";
    let against = Contender::WebSocket.name();
    let mut experiment = Experiment::new("P10", title, "clients", Some(against), "ms");
    progress("P10");
    for _ in 0..4 * settings.rounds {
        for contender in [Contender::Sealed, Contender::WebSocket] {
            let numbers = once(contender, true, settings).await?;
            experiment.add(contender.name(), 1.0, numbers);
            let numbers = once(contender, false, settings).await?;
            experiment.add(&format!("{}, both at once", contender.name()), 1.0, numbers);
        }
    }
    Ok(experiment)
}

/// Measures once. If `waits`, the client is started when the server listens; otherwise both are
/// started at once, and the client may have to try again.
async fn once(contender: Contender, waits: bool, settings: &Settings) -> Result<Numbers> {
    let (folder, port) = (folder()?, free_port()?);
    prepare(contender, folder.path(), 1, port)?;
    let serve = Serve { contender, folder: folder.path().to_owned() };
    let started = Instant::now();
    let mut server = Child::start(&settings.program, &Role::First(serve.clone(), port))?;
    if waits {
        let _listens: u16 = server.hear().await?;
    }
    let client = Child::start(&settings.program, &Role::Sender(serve, port))?;
    if !waits {
        let _listens: u16 = server.hear().await?;
    }
    let _arrived: bool = server.hear().await?;
    let millis = started.elapsed().as_secs_f64() * 1_000.0;
    client.stop().await?;
    server.stop().await?;
    Ok(Numbers::from([("ms".to_owned(), millis)]))
}
