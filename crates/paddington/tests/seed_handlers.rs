//! The functions and handlers of the original's documentation compile as they are written there,
//! and its example, of the same shape and with the same imports, counts down between two processes.

#![cfg(feature = "anyhow")]
#![expect(clippy::needless_borrows_for_generic_args, reason = "the code under test is quoted")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use paddington::async_message_handler;
use paddington::config::ServiceConfig;
use paddington::invite::Invite;
use paddington::message::Message;
use paddington::{Error, run, send, set_handler};

async fn run_client(invitation: &Path) -> Result<(), Error> {
    // load the invitation from the file
    let invite: Invite = Invite::load(invitation)?;

    // create the echo-client service - note that the url, ip and
    // port aren't used, as this service won't be listening for any
    // connecting clients
    let mut service: ServiceConfig =
        ServiceConfig::new("echo-client", "http://localhost:6502", "127.0.0.1", &6502)?;

    // now give the invitation to connect to the server to the client
    service.add_server(invite)?;

    // set the handler for the echo-client service
    set_handler(echo_client_handler).await?;

    // run the echo-client service
    run(service).await?;

    Ok(())
}

async_message_handler! {
    ///
    /// This is the function that will be called on the echo-client
    /// service whenever it receives a message
    ///
    async fn echo_client_handler(message: Message) -> Result<(), Error> {
        tracing::info!("echo-client received: {}", message);

        // we will ignore control messages
        if message.is_control() {
            return Ok(())
        }

        // just echo the message back to the sender
        send(Message::new(message.sender(), message.payload())).await?;

        // exit if the message is "0"
        if message.payload() == "0" {
            std::process::exit(0);
        }

        Ok(())
    }
}

async_message_handler! {
    async fn echo_server_handler(message: Message) -> Result<(), Error> {
        tracing::info!("echo-server received: {}", message);

        // there are two types of message - control messages that
        // tell us that, e.g. services have connected, and normal
        // messages that come from those services. Here, as the
        // echo-server, we will start the echo exchange whenever
        // we receive a control message telling us the echo-client
        // service has connected
        match message.is_control() {
            true => {
                // start the echo exchange
                send(Message::new("echo-client", "1000")).await?;
            }
            false => {
                // the message should be a number - we will decrement
                // it and echo it back
                let number = message.payload().parse::<i32>().with_context(|| {
                    format!("Could not parse message payload as i32: {}", message.payload())
                })?;

                // echo the decremented number
                send(Message::new(message.sender(), &(number - 1).to_string())).await?;

                if number <= 1 {
                    // blast off!
                    tracing::info!("Blast off!");

                    // exit the program gracefully
                    // (this will eventually flush all caches / queues,
                    //  and exit once all messages sent, blocking sending
                    //  of any new messages - for now, we will just sleep
                    // for a short time before calling exit...)
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    std::process::exit(0);
                }
            }
        }

        Ok(())
    }
}

async fn run_server(
    url: &str,
    ip: &str,
    port: &u16,
    range: &str,
    invitation: &Path,
) -> Result<(), Error> {
    // create the echo-server service
    let mut service = ServiceConfig::new("echo-server", url, ip, port)?;

    let invite = service.add_client("echo-client", range)?;

    // save the invitation to the requested file
    invite.save(invitation)?;

    // set the handler for the echo-server service
    set_handler(echo_server_handler).await?;

    // run the echo-server service
    run(service).await?;

    Ok(())
}

/// The variable that tells a child process where the invitation is.
const CHILD: &str = "PADDINGTON_TEST_INVITATION";

/// Starts a process that runs one of the tests below, with its log as output.
fn start(test: &str, invitation: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(CHILD, invitation)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn the_originals_example_counts_down() {
    let folder = tempfile::tempdir().unwrap();
    let invitation = folder.path().join("invitation.toml");
    let server = start("child_that_serves", &invitation);
    while !invitation.exists() {
        std::thread::yield_now();
    }
    let client = start("child_that_echoes", &invitation);
    // Both outputs are read at the same time: a process waits for the reader of a full pipe.
    let reads = [server, client].map(|child| std::thread::spawn(|| child.wait_with_output()));
    let [server, client] = reads.map(|read| {
        let output = read.join().unwrap().unwrap();
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}: {log}", output.status);
        log
    });
    let numbers = |log: &str, peer: &str| -> Vec<u32> {
        let start = format!("Message from {peer} to ");
        let after = |line: &str| Some(line.split_once(&start)?.1.rsplit_once(": ")?.1.to_owned());
        log.lines().filter_map(after).map(|number| number.parse().unwrap()).collect()
    };
    // The server of the original leaves a second after it has sent the last number.
    let down: Vec<u32> = (0..=1_000).rev().collect();
    assert_eq!(numbers(&client, "echo-server"), down);
    assert_eq!(numbers(&server, "echo-client")[..1_000], down[..1_000]);
    assert_eq!(server.matches("Blast off!").count(), 1, "{server}");
    let connected = r#"Control message: {"Connected":{"agent":"echo-client"}}"#;
    assert_eq!(server.matches(connected).count(), 1, "{server}");
}

fn log_to_output() {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stdout).init();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a child process of another test"]
async fn child_that_serves() {
    let Some(invitation) = std::env::var_os(CHILD) else { return };
    log_to_output();
    let port = paddington_test_support::free_port();
    let url = format!("http://localhost:{port}");
    run_server(&url, "127.0.0.1", &port, "0.0.0.0/0.0.0.0", Path::new(&invitation)).await.unwrap();
    panic!("the handler ends this process");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a child process of another test"]
async fn child_that_echoes() {
    let Some(invitation) = std::env::var_os(CHILD) else { return };
    log_to_output();
    run_client(Path::new(&invitation)).await.unwrap();
    panic!("the handler ends this process");
}

#[tokio::test]
async fn a_process_has_one_handler_and_cannot_run_without_it() {
    let mut service =
        ServiceConfig::new("echo-server", "http://localhost:6501", "127.0.0.1", &0).unwrap();
    service.add_client("echo-client", "127.0.0.1").unwrap();
    let unprepared = run(service.clone()).await.unwrap_err();
    assert_eq!(unprepared.to_string(), "no handler is set: call set_handler before run");

    set_handler(echo_server_handler).await.unwrap();
    assert!(set_handler(echo_client_handler).await.is_err(), "one is set already");
    let outside = send(Message::new("echo-client", "1000")).await.unwrap_err();
    assert!(outside.to_string().starts_with("no service runs here"), "{outside}");

    let running = tokio::spawn(run(service));
    let mut asked = paddington::shutdown().await;
    while asked.is_err() {
        tokio::task::yield_now().await;
        asked = paddington::shutdown().await;
    }
    assert!(running.await.unwrap().unwrap().is_clean());
    assert!(send(Message::new("echo-client", "1000")).await.is_err());

    let missing = run_client(Path::new("no-such-invitation.toml")).await.unwrap_err();
    assert!(missing.to_string().contains("no-such-invitation.toml"), "{missing}");
}
