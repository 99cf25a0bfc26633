//! `paddington remove`: a link ends.

use paddington_admin::model::WaitingMail;

use crate::access::Access;
use crate::args::Remove;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::view;

pub(crate) async fn run(args: &Remove, output: Output) -> Result<(), Failure> {
    let waiting = match (args.purge, args.keep) {
        (true, _) => WaitingMail::Purge,
        (_, true) => WaitingMail::Keep,
        _ => WaitingMail::Refuse,
    };
    let removed = Access::open().await?.remove(&args.peer, waiting).await?;
    output.print(&removed, |removed| {
        let mail = match (waiting, removed.messages) {
            (_, 0) => "nothing waited for it".to_owned(),
            (WaitingMail::Keep, count) => format!("{} stay in the outbox", view::messages(count)),
            (_, count) => format!("{} that waited for it are deleted", view::messages(count)),
        };
        format!("{} is not a peer any more: {mail}", args.peer)
    })?;
    match removed.not_purged {
        None => Ok(()),
        Some(cause) => {
            let cause = format!("what is stored for it is still there: {cause}");
            Err(Failure::new(Exit::No, cause).with_remedy("Try again: paddington purge --all"))
        }
    }
}
