//! `paddington reload`: the service that runs reads its configuration again.

use paddington_admin::model::Reloaded;

use crate::access;
use crate::failure::{Exit, Failure};
use crate::output::Output;

pub(crate) async fn run(output: Output) -> Result<(), Failure> {
    let reloaded: Reloaded = access::client().await?.post("/v1/reload", &()).await?;
    output.print(&reloaded, text)?;
    if reloaded.refused.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = reloaded.refused.iter().map(|it| it.peer.as_str()).collect();
    Err(Failure::new(Exit::Refused, format!("these links are as before: {}", names.join(", "))))
}

fn text(reloaded: &Reloaded) -> String {
    let Reloaded { added, removed, changed, refused, restart } = reloaded;
    let mut lines = Vec::new();
    for (what, peers) in [("added", added), ("removed", removed), ("changed", changed)] {
        lines.extend((!peers.is_empty()).then(|| format!("{what}: {}", peers.join(", "))));
    }
    lines.extend(refused.iter().map(|it| format!("refused: {}: {}", it.peer, it.reason)));
    if !restart.is_empty() {
        lines.push(format!("with the next start only: {}", restart.join(", ")));
    }
    if lines.is_empty() {
        lines.push("nothing has changed".to_owned());
    }
    lines.join("\n")
}
