//! What is stored belongs to the link: a new link to a peer of the same name never gets it.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use paddington::store::{Mailbox, MailboxStatus, Purged};
use paddington::{Delivered, Message, PurgeError, RejectCode, Service, ServiceConfig};
use paddington_test_support::{Inbox, Pair, capture_logs, eventually, pair};

/// The role of the service that has the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

/// Two services of the same names each time, with new keys.
struct Fresh {
    pair: Pair,
    role: Role,
}

impl Fresh {
    fn link(role: Role, folder: &tempfile::TempDir) -> Self {
        let mut pair = pair();
        let own = if role == Role::Server { &mut pair.server } else { &mut pair.client };
        own.set_outbox(folder.path().join("outbox.sqlite"));
        Self { pair, role }
    }

    fn own(&self) -> &ServiceConfig {
        if self.role == Role::Server { &self.pair.server } else { &self.pair.client }
    }

    fn other(&self) -> &ServiceConfig {
        if self.role == Role::Server { &self.pair.client } else { &self.pair.server }
    }

    /// Starts the service with the store.
    async fn start(&self) -> (Service, Inbox) {
        self.pair.start(self.own()).await
    }

    async fn send(&self, service: &Service, text: &str) {
        service.send(Message::new(self.other().name(), text)).await.unwrap();
    }

    /// Starts a service with the store whose handler rejects everything.
    async fn start_failing(&self) -> Service {
        let handler = async |message: Message| match message.is_control() {
            true => Ok(()),
            false => Err(std::io::Error::other("it fails")),
        };
        let network = self.pair.network.network();
        Service::start_on(network, self.own(), handler).await.unwrap()
    }
}

async fn orphans(service: &Service) -> Vec<MailboxStatus> {
    service.exchange().orphans().await.unwrap()
}

#[tokio::test]
async fn a_peer_of_the_same_name_never_gets_the_mail_of_its_predecessor() {
    for role in [Role::Client, Role::Server] {
        let folder = tempfile::tempdir().unwrap();
        let old = Fresh::link(role, &folder);
        let (service, _) = old.start().await;
        for text in ["one", "two", "three"] {
            old.send(&service, text).await;
        }
        assert_eq!(orphans(&service).await, [], "the link is known");
        assert_eq!(service.shutdown().await.left_in_store[0].1, 3);

        let new = Fresh::link(role, &folder);
        for round in 0..2 {
            let (service, _) = new.start().await;
            assert_eq!(service.peers()[0].outbox_messages, 0, "{role:?}");
            let (other, inbox) = new.pair.start(new.other()).await;
            new.send(&service, "new").await;
            assert_eq!(inbox.text().await, "new");
            eventually(async || service.peers()[0].outbox_messages == 0).await;
            let waiting = orphans(&service).await;
            assert_eq!(waiting.len(), 1, "{role:?}, {round}");
            assert_eq!(waiting[0].mailbox.peer.as_str(), new.other().name());
            assert_eq!((waiting[0].messages, waiting[0].bytes, waiting[0].letters), (3, 11, 0));
            assert!(service.shutdown().await.left_in_store.is_empty());
            other.shutdown().await;
            assert!(inbox.drain().await.iter().all(|text| !["one", "two"].contains(&&**text)));
        }

        // The old link is there again, with everything.
        let (service, _) = old.start().await;
        let (_other, inbox) = old.pair.start(old.other()).await;
        for text in ["one", "two", "three"] {
            assert_eq!(inbox.text().await, text);
        }
        assert!(service.peers()[0].is_conserved());
    }
}

#[tokio::test]
async fn cursors_attempts_and_dead_letters_stay_with_their_link() {
    for role in [Role::Client, Role::Server] {
        let folder = tempfile::tempdir().unwrap();
        let old = Fresh::link(role, &folder);
        let service = old.start_failing().await;
        let (other, _) = old.pair.start(old.other()).await;
        let receipt = other.send(Message::new(old.own().name(), "bad")).await.unwrap();
        assert_eq!(receipt.await, Delivered::Rejected(RejectCode::FAILED));
        let letters = service.exchange().store().unwrap().letters().await.unwrap();
        service.shutdown().await;
        other.shutdown().await;

        let new = Fresh::link(role, &folder);
        let (service, inbox) = new.start().await;
        let store = service.exchange().store().unwrap();
        let found = orphans(&service).await;
        assert_eq!(found.len(), 1);
        let orphan = &found[0];
        assert_eq!((orphan.messages, orphan.letters, orphan.since), (0, 1, None));
        let old_mailbox = &orphan.mailbox;
        assert_eq!(letters[0].1.mailbox, *old_mailbox);
        assert_eq!(letters[0].1.peer().as_str(), new.other().name());
        // What the new link has of its own.
        let (other, _) = new.pair.start(new.other()).await;
        let receipt = other.send(Message::new(new.own().name(), "good")).await.unwrap();
        assert_eq!(receipt.await, Delivered::Handled);
        assert_eq!(inbox.text().await, "good");
        other.shutdown().await;
        assert_eq!(store.cursors(old_mailbox).await.unwrap().len(), 1);
        let purged = service.exchange().purge(old_mailbox).await.unwrap();
        assert_eq!(purged, Purged { messages: 0, bytes: 0, letters: 1 });
        assert!(store.letters().await.unwrap().is_empty());
        assert_eq!(store.cursors(old_mailbox).await.unwrap(), []);
        service.shutdown().await;

        let (service, _) = new.start().await;
        assert_eq!(orphans(&service).await, []);
        let store = service.exchange().store().unwrap();
        let own: Vec<_> = store.mailboxes(Vec::new()).await.unwrap();
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(store.cursors(&own[0].mailbox).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn only_a_mailbox_whose_link_is_not_known_is_purged() {
    let folder = tempfile::tempdir().unwrap();
    let old = Fresh::link(Role::Server, &folder);
    let (service, _) = old.start().await;
    old.send(&service, "kept").await;
    let store = service.exchange().store().unwrap();
    let known = store.mailboxes(Vec::new()).await.unwrap()[0].mailbox.clone();
    // The link decides, whatever the name is.
    let renamed = Mailbox { peer: "renamed".parse().unwrap(), link: known.link };
    for mailbox in [&known, &renamed] {
        let refused = service.exchange().purge(mailbox).await.unwrap_err();
        assert_eq!(refused, PurgeError::Known(known.clone()));
    }
    let of_same_name = Mailbox { peer: known.peer.clone(), link: [9; 16].into() };
    let nothing = service.exchange().purge(&of_same_name).await.unwrap();
    assert_eq!(nothing, Purged::default());
    assert_eq!(service.shutdown().await.left_in_store[0].1, 1);

    let new = Fresh::link(Role::Server, &folder);
    let (service, _) = new.start().await;
    let purged = service.exchange().purge(&known).await.unwrap();
    assert_eq!(purged, Purged { messages: 1, bytes: 4, letters: 0 });
    service.shutdown().await;
    let (service, _) = old.start().await;
    assert_eq!(service.peers()[0].outbox_messages, 0, "it is gone for the old link too");
    let plain = pair();
    let (service, _) = plain.start_server().await;
    assert_eq!(service.exchange().purge(&known).await, Err(PurgeError::NoStore));
    assert_eq!(orphans(&service).await, []);
}

#[tokio::test]
async fn a_start_warns_of_mail_that_waits_for_nobody() {
    let logs = capture_logs();
    let folder = tempfile::tempdir().unwrap();
    let old = Fresh::link(Role::Client, &folder);
    let (service, _) = old.start().await;
    old.send(&service, "secret").await;
    service.shutdown().await;
    let new = Fresh::link(Role::Client, &folder);
    let (service, _) = new.start().await;
    let mailbox = orphans(&service).await[0].mailbox.clone();
    let about = || {
        let link = mailbox.link.to_string();
        logs.lines().into_iter().filter(|line| line.contains(&link)).collect::<Vec<_>>()
    };
    let lines = about();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("server (link"), "{lines:?}");
    assert!(lines[0].contains(": 1 message") && lines[0].contains("Exchange::purge"), "{lines:?}");
    assert!(!lines[0].contains("secret"));
    service.exchange().purge(&mailbox).await.unwrap();
    service.shutdown().await;
    let (_service, _) = new.start().await;
    assert_eq!(about().len(), 1, "there is nothing to warn of");
}
