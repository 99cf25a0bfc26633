//! Runs both services as two processes in a temporary folder, and shows their logs side by side.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Error, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::{DemoArguments, EncodingName};

pub(crate) async fn run_demo(arguments: &DemoArguments) -> Result<(), Error> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let port = free_port()?;
    let encoding = match arguments.encoding {
        EncodingName::Sealed => "sealed",
        EncodingName::Hex => "hex",
    };
    let (url, port) = (format!("http://localhost:{port}"), port.to_string());
    let count = arguments.count.to_string();
    let server = ["server", "--url", &url, "--port", &port, "-n", &count, "--encoding", encoding];

    let mut server = start(folder.path(), &server)?;
    let (invited, mut invitation) = oneshot::channel();
    let server_log = tokio::spawn(show("echo-server", output(&mut server)?, Some(invited)));
    // the client needs the invitation, which the server announces unless it fails
    tokio::select! {
        _ = &mut invitation => {}
        status = server.wait() => bail!("the server failed before the client was started: {}", status?),
    }
    let mut client = start(folder.path(), &["client", "--invitation", "invitation.toml"])?;
    let client_log = tokio::spawn(show("echo-client", output(&mut client)?, None));

    let (server, client) = tokio::try_join!(server.wait(), client.wait())?;
    server_log.await??;
    client_log.await??;
    if !server.success() || !client.success() {
        bail!("the server ended with {server}, the client with {client}");
    }
    Ok(())
}

/// Finds a port that was free a moment ago.
fn free_port() -> Result<u16, Error> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr()?.port())
}

fn start(folder: &Path, arguments: &[&str]) -> Result<Child, Error> {
    let program = std::env::current_exe().context("cannot find the file of this program")?;
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a service")
}

fn output(child: &mut Child) -> Result<impl AsyncRead + Unpin + use<>, Error> {
    child.stdout.take().context("a service has no output")
}

/// Shows a service's log, each line with the service's name, and reports when the invitation is
/// written.
#[expect(clippy::print_stdout, reason = "showing the logs is what the demo is for")]
async fn show(
    name: &str,
    log: impl AsyncRead + Unpin,
    mut invited: Option<oneshot::Sender<()>>,
) -> Result<(), Error> {
    let mut lines = BufReader::new(log).lines();
    while let Some(line) = lines.next_line().await? {
        println!("{name} | {line}");
        if line.contains("the invitation for echo-client is in")
            && let Some(invited) = invited.take()
        {
            // the demo may have given up already
            let _ = invited.send(());
        }
    }
    Ok(())
}
