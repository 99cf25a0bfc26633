//! A shard of the store that is out of reach stops only the links that live in it (S15).

use paddington_exchange::{Delivered, Event, SendError};
use tokio::time::timeout;

use super::*;

/// A service with two shards, and the clients of a link in each.
struct Sharded {
    service: Service,
    /// The link of this one lives in the first shard.
    sensor: Exchange,
    /// The link of this one lives in the second shard, and comes first wherever links are sorted.
    pump: Exchange,
    /// What the sensor has got.
    sensed: Inbox,
}

impl Sharded {
    /// Makes the service; nothing runs yet.
    fn service() -> Service {
        let disk = SharedDisk::with_shards(LEASE, 2);
        loop {
            let links = ["sensor", "pump"].map(|client| TestLink::new("hub", client));
            let [sensor, pump] = links.each_ref().map(|link| link.id);
            if disk.shard_of(sensor) == 0 && disk.shard_of(pump) == 1 && pump < sensor {
                return Service::over(disk, links.into());
            }
        }
    }

    /// Starts the clients, and waits until they are connected to a replica.
    async fn connected_to(service: Service, replica: &Replica) -> Self {
        let (sensed, handler) = Inbox::new();
        let sensor = service.client_of(0, Config::default(), handler).await;
        let pump = service.client_of(1, Config::default(), Inbox::new().1).await;
        connected(&replica.exchange, "sensor").await;
        connected(&replica.exchange, "pump").await;
        Self { service, sensor, pump, sensed }
    }

    /// Cuts a replica off from the second shard, or connects it again.
    fn cut_off(&self, replica: &Replica, cut_off: bool) {
        self.service.disk.cut_off_from(replica.id, 1..2, cut_off);
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_are_called_for_peers_whose_shard_can_be_reached() {
    let service = Sharded::service();
    let (one, inbox) = service.replica(1).await;
    let sharded = Sharded::connected_to(service, &one).await;
    let mut events = one.exchange.events();
    sharded.cut_off(&one, true);
    sleep(LEASE + SECOND).await;
    send(&sharded.pump, "hub", 100..103).await;
    send(&sharded.sensor, "hub", 0..3).await;
    take(&inbox, 0..3).await;
    sleep(5 * SECOND).await;
    assert!(inbox.drain_texts().await.is_empty(), "others may have the link of the pump");
    assert!(status(&one.exchange, "pump").unwrap().is_connected());
    let leases = one.exchange.replica().unwrap().leases;
    assert!(!leases[0].is_zero() && leases[1].is_zero(), "{leases:?}");
    assert!(!one.exchange.replica().unwrap().lease.is_zero());

    let refused = one.exchange.send(Message::new("pump", "x")).await.unwrap_err();
    assert!(matches!(refused, SendError::Storage(_)), "{refused}");
    send(&one.exchange, "sensor", 10..13).await;
    take(&sharded.sensed, 10..13).await;

    sharded.cut_off(&one, false);
    take(&inbox, 100..103).await;
    let mut lapsed = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::LeaseLapsed { database } = event {
            lapsed.push(database);
        }
    }
    assert_eq!(lapsed, [Some(2)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_long_outage_of_a_shard_only_its_peers_go_elsewhere() {
    let service = Sharded::service();
    let [(one, _), (two, _)] = service.two().await;
    let sharded = Sharded::connected_to(service, &one).await;
    let service = &sharded.service;
    let [of_sensor, of_pump] = [0, 1].map(|at: usize| service.links[at].id);
    let sessions = || status(&one.exchange, "sensor").unwrap().counters.sessions;
    sharded.cut_off(&one, true);
    service.lead_to(&two);
    sleep(5 * LEASE).await;
    connected(&two.exchange, "pump").await;
    assert!(status(&one.exchange, "sensor").unwrap().is_connected());
    assert_eq!((service.disk.owner(of_sensor), sessions()), (Some(one.id), 1));

    // Whoever comes is taken in or sent away by the shard of the link.
    service.lead_to(&one);
    service.network.cut();
    while sessions() < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(LEASE).await;
    assert!(status(&one.exchange, "sensor").unwrap().is_connected());
    assert!(!status(&one.exchange, "pump").unwrap().is_connected());
    assert_eq!(service.disk.owner(of_pump), Some(two.id));

    sharded.cut_off(&one, false);
    connected(&one.exchange, "pump").await;
    assert_eq!(service.disk.owner(of_pump), Some(one.id));
}

#[tokio::test(start_paused = true)]
async fn links_in_other_shards_are_given_up_at_the_end() {
    let service = Sharded::service();
    let (one, inbox) = service.replica(1).await;
    let sharded = Sharded::connected_to(service, &one).await;
    sharded.cut_off(&one, true);
    // What was done for it cannot be written before the end.
    send(&sharded.pump, "hub", 0..1).await;
    take(&inbox, 0..1).await;
    let report = one.exchange.shutdown().await;
    assert!(report.store.is_some(), "{report:?}");
    let owner = |at: usize| sharded.service.disk.owner(sharded.service.links[at].id);
    assert_eq!((owner(0), owner(1)), (None, Some(one.id)));
}

#[tokio::test(start_paused = true)]
async fn outcomes_and_owners_in_other_shards_are_told() {
    let service = Sharded::service();
    let [(one, _), (two, _)] = service.two().await;
    let to_pump = two.exchange.send(Message::new("pump", "x")).await.unwrap();
    let never = tokio::spawn(to_pump.into_future());
    sleep(SECOND).await;
    // The pump is not there, and its outcome is asked for in vain.
    service.disk.cut_off_from(two.id, 1..2, true);
    let (_sensor, _inbox) = service.client().await;
    connected(&one.exchange, "sensor").await;
    sleep(10 * SECOND).await;
    let to_sensor = two.exchange.send(Message::new("sensor", "y")).await.unwrap();
    let told = timeout(10 * SECOND, to_sensor.into_future()).await;
    assert_eq!(told, Ok(Delivered::Handled));
    assert!(!never.is_finished());
    let owners = two.exchange.owners(None).await.unwrap();
    let owners: Vec<_> = owners.iter().map(|(peer, owner)| (peer.as_str(), *owner)).collect();
    assert_eq!(owners, [("sensor", Some(one.id.0))], "nothing is known of the pump");
}

#[tokio::test(start_paused = true)]
async fn requests_to_peers_in_other_shards_are_answered() {
    let service = Sharded::service();
    let [(one, _), (two, _)] = service.two().await;
    let answer = async |message: Message| {
        if message.is_request() { message.reply("yes") } else { Ok(()) }
    };
    let _sensor = service.client_of(0, Config::default(), answer).await;
    connected(&one.exchange, "sensor").await;
    let asker = two.exchange.clone();
    let to_pump = Message::new("pump", "are you there?");
    let never = tokio::spawn(async move { asker.request(to_pump, 100 * SECOND).await });
    sleep(SECOND).await;
    for replica in [&one, &two] {
        service.disk.cut_off_from(replica.id, 1..2, true);
    }
    service.disk.deafen(true); // they look, then
    sleep(10 * SECOND).await;
    let reply = two.exchange.request(Message::new("sensor", "are you?"), 20 * SECOND).await;
    assert_eq!(reply.unwrap().payload(), "yes");
    assert!(!never.is_finished());
}
