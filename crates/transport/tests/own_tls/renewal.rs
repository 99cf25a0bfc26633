//! Files that are replaced while a service runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use paddington::{Encoding, Message, TlsFiles};
use paddington_test_support::{CapturedLogs, Inbox, Issued, capture_logs};
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep};

use crate::certificates::{HOST, Secured, presented};

/// Time after which a file that was replaced is served, or refused.
const SERVED: Duration = Duration::from_secs(11);
/// Number of messages that are sent in each phase.
const PHASE: usize = 500;

/// Links the names of a folder to files of this version, one after the other, as certbot does.
fn link(live: &Path, version: usize, issued: &Issued) {
    let archive = live.join(format!("archive{version}"));
    fs::create_dir(&archive).unwrap();
    issued.save(&archive);
    for name in ["privkey.pem", "fullchain.pem"] {
        let new = live.join("new");
        symlink(archive.join(name), &new).unwrap();
        fs::rename(&new, live.join(name)).unwrap();
    }
}

async fn leaf(secured: &Secured) -> CertificateDer<'static> {
    presented(&secured.handshake(|_| {}).await.unwrap())
}

/// Sends messages while connections are cut, and checks that each arrives once, in order.
async fn load(secured: &Secured, client: &paddington::Service, inbox: &Inbox, phase: usize) {
    for number in phase * PHASE..(phase + 1) * PHASE {
        client.send(Message::new("server", number.to_string())).await.unwrap();
        if number % 100 == 50 {
            sleep(Duration::from_millis(200)).await;
            secured.network().cut();
        }
    }
    for number in phase * PHASE..(phase + 1) * PHASE {
        assert_eq!(inbox.text().await, number.to_string());
    }
}

fn told(logs: &CapturedLogs, text: &str) -> usize {
    logs.lines().iter().filter(|line| line.contains(text)).count()
}

#[tokio::test(start_paused = true)]
async fn certificates_are_renewed_under_load_and_no_message_is_lost() {
    let logs = capture_logs();
    let mut secured = Secured::new(Encoding::Sealed);
    let live = secured.file("live");
    fs::create_dir(&live).unwrap();
    let mut current = secured.authority.issue(HOST);
    link(&live, 0, &current);
    secured.pair.server.set_tls(TlsFiles::in_directory(&live));
    let (server, inbox) = secured.pair.start_server().await;
    let (client, _) = secured.pair.start_client().await;
    for phase in 0..6 {
        load(&secured, &client, &inbox, phase).await;
        assert!(leaf(&secured).await == current.der(), "phase {phase}");
        if phase == 2 {
            fs::write(live.join("archive2/fullchain.pem"), "garbage").unwrap();
        } else {
            let next = secured.authority.issue(HOST);
            link(&live, phase + 1, &next);
            current = next;
        }
        let (replaced, broken) = (Instant::now(), phase == 2);
        while told(&logs, "served still") == 0 && broken || leaf(&secured).await != current.der() {
            assert!(replaced.elapsed() <= SERVED, "phase {phase}: it was not noticed");
            sleep(Duration::from_millis(100)).await;
        }
    }
    sleep(10 * SERVED).await;
    assert_eq!(told(&logs, "served still"), 1, "a broken file is told once");
    assert_eq!(told(&logs, "the files of TLS were read again"), 5);
    assert_eq!(server.refusals(), []);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_does_not_fit_changes_nothing_until_both_files_do() {
    let secured = Secured::new(Encoding::Sealed);
    let (_server, _) = secured.pair.start_server().await;
    let before = leaf(&secured).await;
    let next = secured.authority.issue(HOST);
    fs::write(secured.file("privkey.pem"), &next.key).unwrap();
    sleep(3 * SERVED).await;
    assert!(leaf(&secured).await == before);
    fs::write(secured.file("fullchain.pem"), &next.certificate).unwrap();
    sleep(SERVED).await;
    assert!(leaf(&secured).await == next.der());
    // A file that is gone is as good as one that is broken.
    fs::remove_file(secured.file("privkey.pem")).unwrap();
    sleep(3 * SERVED).await;
    assert!(leaf(&secured).await == next.der());
}
