//! Tasks that a handler spawns may send, as the service that the handler belongs to.

use paddington::{Error, Message, Service, current, send, shutdown, spawn};
use paddington_test_support::pair;

#[tokio::test]
async fn a_spawned_task_means_the_service_whose_handler_has_spawned_it() {
    let pair = pair();
    let answer = async |message: Message| {
        if !message.is_control() {
            // Spawned tasks may spawn tasks too.
            let task = spawn(async move {
                let own = current()?.name().to_string();
                spawn(send(Message::new(message.sender(), format!("from {own}")))).await.unwrap()
            });
            task.await.unwrap()?;
        }
        Ok::<(), Error>(())
    };
    let network = pair.network.network();
    // Two services in one process: the task has to know whose it is.
    let server = Service::start_on(network, &pair.server, answer).await.unwrap();
    let (client, inbox) = pair.start_client().await;
    client.send(Message::new("server", "who are you?")).await.unwrap();
    assert_eq!(inbox.text().await, "from server");
    assert!(server.shutdown().await.is_clean());
}

#[tokio::test]
async fn a_spawned_task_may_wait_for_the_end_that_it_asks_for() {
    let pair = pair();
    let stop = async |message: Message| {
        if !message.is_control() {
            spawn(shutdown());
        }
        Ok::<(), Error>(())
    };
    let server = Service::start_on(pair.network.network(), &pair.server, stop).await.unwrap();
    let (client, _inbox) = pair.start_client().await;
    client.send(Message::new("server", "stop")).await.unwrap();
    assert!(server.finished().await.is_clean());
}

#[tokio::test]
async fn outside_of_any_service_the_error_says_what_to_do() {
    let outside = spawn(send(Message::new("server", "x"))).await.unwrap().unwrap_err();
    assert!(outside.to_string().contains("paddington::spawn"), "{outside}");
}
