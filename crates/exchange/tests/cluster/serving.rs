//! A service of several replicas that is the client of a link: one of them dials.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_replica_whose_lease_has_lapsed_says_nothing_to_the_server() {
    let (network, disk) = (MemoryNetwork::new(), SharedDisk::new(LEASE));
    let link = TestLink::new("partner", "hub");
    let clients = vec![link.invited()];
    let partner = Setup { clients, ..setup("partner", PORT, &network) };
    let partner = Exchange::start(partner, Inbox::new().1).await.unwrap();
    let (id, store) = disk.open();
    let hub = Setup {
        listen: None,
        servers: vec![link.server_at(PORT)],
        store: Storage::Shared(store),
        ..setup("hub", PORT + 1, &network)
    };
    let hub = Exchange::start(hub, Inbox::new().1).await.unwrap();
    connected(&partner, "hub").await;
    disk.cut_off(id, true);
    sleep(LEASE + SECOND).await;
    let connected_for = || status(&partner, "hub").unwrap().connected_for;
    assert!(connected_for().is_some(), "what is established stays");
    network.cut();
    sleep(10 * SECOND).await;
    assert_eq!((connected_for(), network.dialled()), (None, 1), "another replica may own the link");
    disk.cut_off(id, false);
    connected(&partner, "hub").await;
    assert!(status(&hub, "partner").unwrap().is_connected());
}

#[tokio::test(start_paused = true)]
async fn one_replica_dials_and_another_takes_its_place() {
    let (network, disk) = (MemoryNetwork::new(), SharedDisk::new(LEASE));
    let link = TestLink::new("partner", "hub");
    let (inbox, handler) = Inbox::new();
    let clients = vec![link.invited()];
    let partner = Setup { clients, ..setup("partner", PORT, &network) };
    let partner = Exchange::start(partner, handler).await.unwrap();
    let mut replicas = Vec::new();
    for number in 1..=2 {
        let (id, store) = disk.open();
        let (inbox, handler) = Inbox::new();
        let setup = Setup {
            listen: None,
            servers: vec![link.server_at(PORT)],
            store: Storage::Shared(store),
            ..setup("hub", PORT + number, &network)
        };
        replicas.push((id, Exchange::start(setup, handler).await.unwrap(), inbox));
    }
    connected(&partner, "hub").await;
    sleep(30 * SECOND).await;
    let owner = disk.owner(link.id).unwrap();
    assert_eq!(network.dialled(), 1, "one connection, which stays");
    let index = replicas.iter().position(|(id, ..)| *id == owner).unwrap();
    let (id, first, _) = replicas.remove(index);
    let (_, second, got) = &replicas[0];
    send(second, "partner", 0..5).await;
    take(&inbox, 0..5).await;
    disk.kill(id);
    first.ask_to_shut_down_now();
    send(&partner, "hub", 0..5).await;
    send(second, "partner", 5..10).await;
    take(&inbox, 5..10).await;
    take(got, 0..5).await;
}
