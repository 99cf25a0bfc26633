//! The local API over its Unix socket: what it says of a service, and what it changes.

use crate::support::Hub;
use paddington::{Invite, LinkId};
use paddington_admin::client::ClientError;
use paddington_admin::model::{
    Disconnected, InvitationAnswer, InviteRequest, JoinRequest, Outbox, Peer, Peers, PingAnswer,
    RangeRequest, Refusals, RemovedAnswer, RenewRequest, Role, State, Status,
};

fn code(error: &ClientError) -> (u16, &str) {
    match error {
        ClientError::Refused { status, error } => (*status, error.code.as_str()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_status_tells_of_the_service_and_its_peers() {
    let hub = Hub::start().await;
    let mut client = hub.client().await;
    let status: Status = client.get("/v1/status").await.unwrap();
    assert_eq!(status.service.name, "server");
    assert!(status.service.changes, "the socket may change peers");
    assert_eq!(status.peers.len(), 1);
    assert_eq!((status.peers[0].role, status.peers[0].state), (Role::Client, State::Away));
    assert!(status.peers[0].link.parse::<LinkId>().is_ok());

    let other = hub.start_peer().await;
    let peer: Peer = client.get("/v1/peers/client").await.unwrap();
    assert_eq!((peer.state, peer.sessions), (State::Connected, 1));
    let ping: PingAnswer = client.post("/v1/peers/client/ping", &()).await.unwrap();
    assert!(ping.round_trip_seconds > 0.0);
    let ended: Disconnected = client.post("/v1/peers/client/disconnect", &()).await.unwrap();
    assert!(ended.was_connected);
    let refusals: Refusals = client.get("/v1/refusals").await.unwrap();
    assert!(refusals.refusals.is_empty());
    let outbox: Outbox = client.get("/v1/outbox").await.unwrap();
    assert_eq!((outbox.peers.len(), outbox.orphans.len()), (1, 0));
    other.shutdown().await;
    hub.serving.end().await;
}

#[tokio::test]
async fn peers_are_invited_changed_and_removed() {
    let hub = Hub::start().await;
    let mut client = hub.client().await;
    let request = InviteRequest {
        name: "attic".to_owned(),
        range: "192.0.2.0/24".to_owned(),
        encoding: None,
        lifetime_seconds: None,
    };
    let answer: InvitationAnswer = client.post("/v1/peers", &request).await.unwrap();
    let invite = Invite::from_toml(&answer.invitation).unwrap();
    assert_eq!((invite.name(), invite.client()), ("server", Some("attic")));
    assert_eq!(answer.fingerprint.map(|text| text.len()), Some(32));
    let again = client.post::<InvitationAnswer>("/v1/peers", &request).await.unwrap_err();
    assert_eq!(code(&again), (409, "known_already"));

    let range = RangeRequest { range: "192.0.2.7".to_owned() };
    let peer: Peer = client.put("/v1/peers/attic/range", &range).await.unwrap();
    assert_eq!(peer.range.as_deref(), Some("192.0.2.7"));
    let renewed: InvitationAnswer =
        client.post("/v1/peers/attic/renew", &RenewRequest::default()).await.unwrap();
    assert_ne!(renewed.invitation, answer.invitation);

    let peers: Peers = client.get("/v1/peers").await.unwrap();
    assert_eq!(peers.peers.len(), 2);
    let removed: RemovedAnswer = client.delete("/v1/peers/attic?waiting=purge").await.unwrap();
    assert_eq!((removed.messages, removed.not_purged), (0, None));
    let gone = client.get::<Peer>("/v1/peers/attic").await.unwrap_err();
    assert_eq!(code(&gone), (404, "unknown_peer"));
    let gone = client.delete::<RemovedAnswer>("/v1/peers/attic").await.unwrap_err();
    assert_eq!(code(&gone), (404, "unknown_peer"));
    hub.serving.end().await;
}

#[tokio::test]
async fn an_invitation_is_accepted() {
    let hub = Hub::start().await;
    let mut client = hub.client().await;
    let mut base =
        paddington::ServiceConfig::new("base", "ws://base.example:1", "127.0.0.1", &1).unwrap();
    let invite = base.add_client("server", "127.0.0.1").unwrap();
    let invitation = invite.to_toml().unwrap().to_string();
    let request = JoinRequest { invitation, authorities: None };
    let peer: Peer = client.post("/v1/peers/join", &request).await.unwrap();
    assert_eq!((peer.name.as_str(), peer.role, peer.dialled), ("base", Role::Server, true));
    let nonsense = JoinRequest { invitation: "key = 'abc'".to_owned(), authorities: None };
    let refused = client.post::<Peer>("/v1/peers/join", &nonsense).await.unwrap_err();
    assert_eq!(code(&refused), (400, "invalid_invitation"));
    hub.serving.end().await;
}

#[tokio::test]
async fn nobody_runs_the_service() {
    let hub = Hub::start().await;
    let path = hub.socket();
    hub.serving.end().await;
    assert!(!path.exists(), "the socket is removed at the end");
    let absent = paddington_admin::client::Client::connect(&path).await.unwrap_err();
    assert!(absent.is_not_running(), "{absent}");
}

#[tokio::test]
async fn wrong_requests_are_explained() {
    let hub = Hub::start().await;
    let mut client = hub.client().await;
    let unknown = client.get::<Peer>("/v1/peers/nobody").await.unwrap_err();
    assert_eq!(code(&unknown), (404, "unknown_peer"));
    let unknown = client.get::<Peer>("/v2/everything").await.unwrap_err();
    assert_eq!(code(&unknown), (404, "unknown_path"));
    let encoded = client.get::<Peer>("/v1/peers/%ff").await.unwrap_err();
    assert_eq!(code(&encoded), (400, "invalid_path"));
    let method = client.put::<Status>("/v1/status", &()).await.unwrap_err();
    assert_eq!(code(&method), (405, "not_allowed"));
    let typo = serde_json::json!({"name": "attic", "rnage": "192.0.2.7"});
    let typo = client.post::<InvitationAnswer>("/v1/peers", &typo).await.unwrap_err();
    assert_eq!(code(&typo), (400, "invalid_json"));
    assert!(typo.to_string().contains("unknown field `rnage`, expected one of"), "{typo}");
    let nobody = client.post::<PingAnswer>("/v1/peers/nobody/ping", &()).await.unwrap_err();
    assert_eq!(code(&nobody), (404, "unknown_peer"));
    let away = client.post::<PingAnswer>("/v1/peers/client/ping", &()).await.unwrap_err();
    assert_eq!(code(&away), (409, "not_connected"));
    let waiting =
        client.delete::<RemovedAnswer>("/v1/peers/client?waiting=burn").await.unwrap_err();
    assert_eq!(code(&waiting), (400, "invalid_value"));
    let encoding = serde_json::json!({"name": "a", "range": "192.0.2.7", "encoding": "rot13"});
    let encoding = client.post::<InvitationAnswer>("/v1/peers", &encoding).await.unwrap_err();
    assert_eq!(code(&encoding), (400, "invalid_value"));
    let long = JoinRequest { invitation: "x".repeat(100_000), authorities: None };
    let long = client.post::<Peer>("/v1/peers/join", &long).await.unwrap_err();
    assert_eq!(code(&long), (413, "too_long"));
    let link = client.delete::<()>("/v1/orphans/abc").await.unwrap_err();
    assert_eq!(code(&link), (400, "invalid_value"));
    let link = format!("/v1/orphans/{}", "0".repeat(32));
    assert_eq!(code(&client.delete::<()>(&link).await.unwrap_err()), (404, "unknown_link"));
    let letters = client.get::<Status>("/v1/dead-letters").await.unwrap_err();
    assert_eq!(code(&letters), (404, "no_store"));
    hub.serving.end().await;
}
