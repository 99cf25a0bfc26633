//! The token of the local API, and keys that it tells, are in no log, at any level.

use crate::support::{Hub, keys, settings_with_tcp, status};
use paddington::Invite;
use paddington_admin::model::{InvitationAnswer, InviteRequest};

#[tokio::test]
async fn no_log_holds_the_token_or_a_key() {
    let logs = paddington_test_support::capture_logs();
    let hub = Hub::start_with(settings_with_tcp).await;
    let token = hub.token();
    assert_eq!(status(&hub.ask("GET /v1/status", &[], "").await), 200);
    let almost = format!("Authorization: Bearer {}x", &token[..63]);
    assert_eq!(status(&hub.ask_openly("GET /v1/status", &[&almost], "").await), 401);
    let request = InviteRequest {
        name: "attic".to_owned(),
        range: "192.0.2.7".to_owned(),
        encoding: None,
        lifetime_seconds: None,
    };
    let mut client = hub.client().await;
    let answer: InvitationAnswer = client.post("/v1/peers", &request).await.unwrap();
    assert!(!format!("{answer:?}").contains("key"));
    Invite::from_toml(&answer.invitation).unwrap();
    // As a person does who sends the invitation itself in place of an object with it.
    let wrong = client.post::<()>("/v1/peers/join", &answer.invitation).await.unwrap_err();
    let keys = keys(&answer.invitation);
    let secrets: Vec<&str> = keys.iter().map(|key| &**key).chain([&token[..40]]).collect();
    assert_eq!(secrets.len(), 3);
    hub.serving.end().await;
    let lines = logs.lines();
    assert!(lines.iter().any(|line| line.contains("the local API listens on TCP")));
    for secret in secrets {
        assert!(!wrong.to_string().contains(secret), "no answer repeats a key");
        for line in &lines {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
