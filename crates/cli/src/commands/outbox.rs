//! `paddington outbox` and `paddington purge`: what waits, and what nobody owns any more.

use std::time::SystemTime;

use paddington::store::MailboxStatus;
use paddington_admin::model::{Orphan, Outbox, OutboxEntry};
use serde::Serialize;

use crate::access::Access;
use crate::args::Purge;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Table};
use crate::{stored, view};

pub(crate) async fn list(output: Output) -> Result<(), Failure> {
    print(&contents(&mut Access::open().await?).await?, output)
}

fn print(outbox: &Outbox, output: Output) -> Result<(), Failure> {
    output.print(outbox, |outbox| {
        if outbox.peers.is_empty() && outbox.orphans.is_empty() {
            return "nothing waits".to_owned();
        }
        let mut table = Table::new(&["PEER", "MESSAGES", "BYTES", "OLDEST", "LINK THAT IS GONE"]);
        for it in &outbox.peers {
            let oldest = view::seconds(it.oldest_seconds);
            table.add([it.peer.clone(), it.messages.to_string(), view::bytes(it.bytes), oldest]);
        }
        for it in &outbox.orphans {
            let since = it.since.clone().unwrap_or_else(|| "-".to_owned());
            let (messages, bytes) = (it.messages.to_string(), view::bytes(it.bytes));
            table.add([it.peer.clone(), messages, bytes, since, it.link.clone()]);
        }
        table.text()
    })
}

async fn contents(access: &mut Access) -> Result<Outbox, Failure> {
    match access {
        Access::Live(client) => {
            let mut outbox: Outbox = client.get("/v1/outbox").await?;
            outbox.peers.retain(|peer| peer.messages > 0);
            Ok(outbox)
        }
        Access::Files(files) => {
            let links: Vec<_> = files.config.link_details().iter().map(|it| it.link).collect();
            let mailboxes = stored::mailboxes(files).await?;
            let (peers, orphans): (Vec<_>, Vec<_>) =
                mailboxes.iter().partition(|it| links.contains(&it.mailbox.link));
            Ok(Outbox {
                peers: peers.into_iter().filter(|it| it.messages > 0).map(entry).collect(),
                orphans: orphans.into_iter().map(Orphan::from).collect(),
            })
        }
    }
}

fn entry(status: &MailboxStatus) -> OutboxEntry {
    let age = status.since.and_then(|since| SystemTime::now().duration_since(since).ok());
    OutboxEntry {
        peer: status.mailbox.peer.to_string(),
        messages: status.messages,
        bytes: status.bytes,
        oldest_seconds: age.map_or(0.0, |age| age.as_secs_f64()),
    }
}

#[derive(Serialize)]
struct Purged {
    purged: Vec<Orphan>,
}

pub(crate) async fn purge(args: &Purge, output: Output) -> Result<(), Failure> {
    let mut access = Access::open().await?;
    let outbox = contents(&mut access).await?;
    let orphans = &outbox.orphans;
    let chosen: Vec<_> = match &args.link {
        Some(link) => orphans.iter().filter(|it| it.link == *link).cloned().collect(),
        None if args.all => orphans.clone(),
        None => Vec::new(),
    };
    match (&args.link, args.all) {
        (Some(link), _) if chosen.is_empty() => {
            let cause = format!("nothing is stored for a link {link:?} that is gone");
            let remedy = "`paddington outbox list` names such links; a peer's own messages go with \
                          `paddington remove --purge`.";
            return Err(Failure::new(Exit::Refused, cause).with_remedy(remedy));
        }
        (None, false) if !orphans.is_empty() => {
            print(&outbox, output)?;
            let cause = "this deletes messages: name one link that is gone, or all";
            return Err(Failure::new(Exit::Refused, cause)
                .with_remedy("paddington purge LINK, or paddington purge --all"));
        }
        _ => {}
    }
    for orphan in &chosen {
        purge_one(&mut access, orphan).await?;
    }
    output.print(&Purged { purged: chosen }, |purged| match purged.purged.as_slice() {
        [] => "nothing is stored for links that are gone".to_owned(),
        orphans => {
            let lines = orphans.iter().map(|it| {
                format!(
                    "deleted {} and {} dead letters of {} (link {})",
                    view::messages(it.messages),
                    it.dead_letters,
                    it.peer,
                    it.link
                )
            });
            lines.collect::<Vec<_>>().join("\n")
        }
    })
}

async fn purge_one(access: &mut Access, orphan: &Orphan) -> Result<(), Failure> {
    match access {
        Access::Live(client) => {
            let () = client.delete(&format!("/v1/orphans/{}", orphan.link)).await?;
            Ok(())
        }
        Access::Files(files) => {
            let stored = stored::mailboxes(files).await?.into_iter();
            let mut mailboxes = stored.map(|it| it.mailbox);
            match mailboxes.find(|it| it.link.to_string() == orphan.link) {
                Some(mailbox) => stored::purge(files, &mailbox).await,
                None => Ok(()),
            }
        }
    }
}
