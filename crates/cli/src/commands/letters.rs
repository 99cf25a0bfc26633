//! `paddington dead-letters`: messages that could not be handled.

use paddington_admin::model::{LetterDetails, LetterSummary, Letters};

use crate::access::{Access, client};
use crate::args::{DeadLetters, LetterAction};
use crate::content;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Table, note, write_raw};
use crate::{stored, view};

pub(crate) async fn run(args: &DeadLetters, output: Output) -> Result<(), Failure> {
    match args.action {
        LetterAction::List => list(output).await,
        LetterAction::Show { id } => show(id, output).await,
        LetterAction::Retry { id } => retry(id).await,
        LetterAction::Drop { id } => drop(id).await,
    }
}

async fn list(output: Output) -> Result<(), Failure> {
    let letters = match Access::open().await? {
        Access::Live(mut client) => client.get("/v1/dead-letters").await?,
        Access::Files(files) => {
            let letters = stored::letters(&files).await?;
            Letters { letters: letters.iter().map(LetterSummary::from).collect() }
        }
    };
    output.print(&letters, |letters| {
        if letters.letters.is_empty() {
            return "there are no dead letters".to_owned();
        }
        let mut table = Table::new(&["ID", "PEER", "GIVEN UP", "BECAUSE", "BYTES"]);
        for it in &letters.letters {
            let row = [it.id.to_string(), it.peer.clone(), it.at.clone(), it.code.clone()];
            table.add(row.into_iter().chain([view::bytes(it.bytes)]));
        }
        table.text()
    })
}

async fn show(id: u64, output: Output) -> Result<(), Failure> {
    let letter: LetterDetails = match Access::open().await? {
        Access::Live(mut client) => client.get(&format!("/v1/dead-letters/{id}")).await?,
        Access::Files(files) => {
            let letters = stored::letters(&files).await?;
            let found = letters
                .into_iter()
                .find(|(letter, _)| letter.0 == id)
                .ok_or_else(|| missing(id))?;
            let summary = LetterSummary::from(&found);
            LetterDetails { summary, content: found.1.into() }
        }
    };
    if output.is_json() {
        return output.print(&letter, |_| String::new());
    }
    let LetterSummary { peer, at, code, .. } = &letter.summary;
    note(&format!("from {peer}, given up at {at}: {code}"));
    write_raw(&content::bytes(&letter.content)?)
}

async fn retry(id: u64) -> Result<(), Failure> {
    let () = client().await?.post(&format!("/v1/dead-letters/{id}/retry"), &()).await?;
    note(&format!("dead letter {id} is handled, and deleted"));
    Ok(())
}

async fn drop(id: u64) -> Result<(), Failure> {
    match Access::open().await? {
        Access::Live(mut client) => {
            let () = client.delete(&format!("/v1/dead-letters/{id}")).await?;
        }
        Access::Files(files) => {
            if !stored::drop_letter(&files, id).await? {
                return Err(missing(id));
            }
        }
    }
    note(&format!("dead letter {id} is deleted"));
    Ok(())
}

fn missing(id: u64) -> Failure {
    Failure::new(Exit::Refused, format!("there is no dead letter {id}"))
        .with_remedy("`paddington dead-letters list` lists them.")
}
