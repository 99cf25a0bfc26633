//! `paddington join`: an invitation is accepted.

use paddington::{Invite, InviteError};
use serde::Serialize;

use crate::access::Access;
use crate::args::Join;
use crate::failure::Failure;
use crate::output::Output;
use crate::{passphrase, words};

#[derive(Serialize)]
struct Joined {
    peer: String,
    url: String,
    words: Option<String>,
    running: bool,
}

pub(crate) async fn run(args: &Join, output: Output) -> Result<(), Failure> {
    let invite = read(args)?;
    let mut access = Access::open().await?;
    access.join(&invite, args.authorities.as_deref()).await?;
    let joined = Joined {
        peer: invite.name().to_owned(),
        url: invite.url().to_string(),
        words: invite.fingerprint().map(|fingerprint| words::of(&fingerprint)),
        running: access.is_live(),
    };
    output.print(&joined, text)
}

/// Reads the invitation. Whether it is sealed shows itself.
fn read(args: &Join) -> Result<Invite, Failure> {
    let file = args.passphrase_file.as_deref();
    let asked = passphrase::chosen(args.passphrase, file, false)?;
    let read = match &asked {
        Some(passphrase) => Invite::load_sealed(&args.file, passphrase),
        None => Invite::load(&args.file),
    };
    match read {
        Err(InviteError::Sealed) => {
            let passphrase = passphrase::chosen(true, None, false)?.unwrap_or_default();
            Ok(Invite::load_sealed(&args.file, &passphrase)?)
        }
        read => Ok(read?),
    }
}

fn text(joined: &Joined) -> String {
    let mut lines = vec![format!("{} is a peer of this service, at {}", joined.peer, joined.url)];
    if let Some(words) = &joined.words {
        lines.push(format!("  Compare with its operator   {words}"));
    }
    lines.push(if joined.running {
        format!("  See whether it comes up     paddington show {}", joined.peer)
    } else {
        "  Connect                     paddington run".to_owned()
    });
    lines.push("The file of the invitation is not needed any more: delete it.".to_owned());
    lines.join("\n")
}
