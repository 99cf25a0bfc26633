//! `paddington invite` and `paddington renew`: invitations, written for one client each.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use paddington::{AddressRange, Encoding, InviteOptions};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::access::{Access, client};
use crate::args::{Invite, Inviting, Renew};
use crate::failure::{Exit, Failure};
use crate::hosts::is_own_machine;
use crate::output::{Output, note};
use crate::{passphrase, words};

/// An invitation that was written.
#[derive(Serialize)]
struct Written {
    peer: String,
    file: String,
    url: String,
    words: Option<String>,
    expires: Option<String>,
    sealed: bool,
}

pub(crate) async fn invite(args: &Invite, here: &Path, output: Output) -> Result<(), Failure> {
    let encoding = if args.hex { Encoding::Hex } else { Encoding::Sealed };
    let options = InviteOptions { encoding, lifetime: args.how.expires };
    let target = Target::choose(&args.how, &args.peer, here)?;
    let invite = Access::open().await?.invite(&args.peer, &args.from, options).await?;
    warn_if_local(&invite, &args.from);
    write(&invite, &args.peer, &target, output)
}

pub(crate) async fn renew(args: &Renew, here: &Path, output: Output) -> Result<(), Failure> {
    if args.keys {
        return renew_keys(&args.peer, output).await;
    }
    let target = Target::choose(&args.how, &args.peer, here)?;
    let invite = Access::open().await?.renew(&args.peer, args.how.expires).await?;
    write(&invite, &args.peer, &target, output)
}

/// That two services agree on new keys.
#[derive(Serialize)]
struct Agreeing<'a> {
    peer: &'a str,
}

async fn renew_keys(peer: &str, output: Output) -> Result<(), Failure> {
    let () = client().await?.post(&format!("/v1/peers/{peer}/keys"), &()).await?;
    output.print(&Agreeing { peer }, |_| {
        format!(
            "{peer} and this service agree on new keys; `paddington show {peer}` has their number"
        )
    })
}

/// Where an invitation goes to, and what seals it. It is settled before anything is changed.
struct Target {
    file: PathBuf,
    passphrase: Option<Zeroizing<String>>,
}

impl Target {
    fn choose(how: &Inviting, peer: &str, here: &Path) -> Result<Self, Failure> {
        let file = how.output.clone();
        let file = file.unwrap_or_else(|| here.join(format!("{peer}.invitation.toml")));
        if let Some(folder) = file.parent().filter(|folder| !folder.is_dir()) {
            let cause = format!("there is no folder {} for the invitation", folder.display());
            return Err(
                Failure::new(Exit::Files, cause).with_remedy("Choose another file: --output FILE")
            );
        }
        if file.exists() && !paddington::Invite::is_at(&file) {
            let cause = format!("{} is there, and it is no invitation", file.display());
            return Err(Failure::new(Exit::Refused, cause)
                .with_remedy("Choose another file: --output FILE"));
        }
        let asked = passphrase::chosen(how.passphrase, how.passphrase_file.as_deref(), true)?;
        if asked.as_ref().is_some_and(|passphrase| passphrase.is_empty()) {
            return Err(Failure::of(Exit::Refused, &paddington::InviteError::EmptyPassphrase));
        }
        Ok(Self { file, passphrase: asked })
    }
}

fn write(
    invite: &paddington::Invite,
    peer: &str,
    target: &Target,
    output: Output,
) -> Result<(), Failure> {
    let saved = match &target.passphrase {
        Some(passphrase) => invite.save_sealed(&target.file, passphrase),
        None => invite.save(&target.file),
    };
    saved.map_err(|error| {
        let remedy =
            format!("The link is there; write its invitation again: paddington renew {peer}");
        Failure::from(error).with_remedy(remedy)
    })?;
    let written = Written {
        peer: peer.to_owned(),
        file: target.file.display().to_string(),
        url: invite.url().to_string(),
        words: invite.fingerprint().map(|fingerprint| words::of(&fingerprint)),
        expires: invite.expires().map(moment),
        sealed: target.passphrase.is_some(),
    };
    output.print(&written, text)
}

fn moment(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

fn text(written: &Written) -> String {
    let until = match &written.expires {
        Some(end) => format!("until {end}"),
        None => "with no end".to_owned(),
    };
    let name = Path::new(&written.file).file_name().unwrap_or_default().to_string_lossy();
    let (flag, way) = if written.sealed {
        ("--passphrase ", "The passphrase has to go another way than the file.")
    } else {
        ("", "Whoever reads it can be that peer: hand it over where nobody else reads.")
    };
    let mut lines = vec![
        format!("The invitation for {} is in {}", written.peer, written.file),
        format!("It is good for one use, {until}. {way}"),
        String::new(),
        format!("  They run       paddington join {flag}{name}"),
    ];
    if let Some(words) = &written.words {
        lines.push(format!("  Both compare   {words}"));
    }
    lines.join("\n")
}

/// An invitation to `localhost` is of no use on another machine.
fn warn_if_local(invite: &paddington::Invite, from: &str) {
    let is_near = from.parse().is_ok_and(|range: AddressRange| range.is_loopback());
    if is_own_machine(invite.url().host()) && !is_near {
        note(&format!(
            "warning: the invitation says {}, which is the client's own machine; write into \
             service.toml the url by which clients reach this one, and renew the invitation",
            invite.url()
        ));
    }
}
