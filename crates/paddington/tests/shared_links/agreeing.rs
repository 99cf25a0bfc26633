//! Changes of links at several replicas at once, while some of them hear nothing, read nothing or are cut off:
//! in the end all of them agree, and on nothing that was undone (S16).

use std::collections::BTreeSet;
use std::time::Duration;

use paddington::store::ReplicaId;
use paddington::{AddressRange, LinkId, Service, Waiting};
use paddington_test_support::{Random, eventually};
use paddington_wire::keys::Generation;
use tokio::time::sleep;

use crate::world::World;

const SEEDS: u64 = 12;
const STEPS: usize = 60;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const RANGES: [&str; 3] = ["127.0.0.1", "127.0.0.0/8", "::/0"];

/// A link, as a replica knows it: all that replicas have to agree on.
type Known = (String, LinkId, Option<AddressRange>, Vec<u64>);

/// What was asked for, and how it was answered.
#[derive(Default)]
struct Asked {
    /// Links that are there, as their replica has said.
    added: BTreeSet<LinkId>,
    removed: BTreeSet<LinkId>,
    /// Links that may be gone: the answer was an error.
    doubtful: BTreeSet<LinkId>,
    /// Whether a link may have been added whose identity nobody was told.
    has_unknown: bool,
}

/// Replicas that can be restarted.
struct Replicas {
    world: World,
    running: Vec<(ReplicaId, Service)>,
}

fn known(service: &Service) -> BTreeSet<LinkId> {
    service.links().into_iter().map(|it| it.link).collect()
}

fn all(service: &Service) -> Vec<Known> {
    let numbers = |name: &str| {
        let ring = service.exchange().keys(name);
        ring.iter().flat_map(|ring| ring.generations()).map(Generation::number).collect()
    };
    let mut all: Vec<_> = service
        .links()
        .into_iter()
        .map(|it| (it.name.clone(), it.link, it.range, numbers(&it.name)))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

impl Asked {
    /// Changes a link at a replica.
    async fn change(service: &Service, random: &mut Random) -> Self {
        let mut asked = Self::default();
        let name = random.one_of(&NAMES);
        let link = service.links().into_iter().find(|it| it.name == name).map(|it| it.link);
        match (random.below(6), link) {
            (0 | 1, None) => {
                let invited = service.add_client(name, random.one_of(&RANGES)).await;
                let link = service.links().into_iter().find(|it| it.name == name);
                match (invited, link) {
                    (Ok(_), Some(link)) => drop(asked.added.insert(link.link)),
                    _ => asked.has_unknown = true,
                }
            }
            (2 | 3, Some(link)) => match service.remove(name, Waiting::Refuse).await {
                Ok(_) => drop(asked.removed.insert(link)),
                Err(_) => drop(asked.doubtful.insert(link)),
            },
            (4, Some(_)) => drop(service.renew(name).await),
            (5, Some(_)) => drop(service.set_range(name, random.one_of(&RANGES)).await),
            _ => {}
        }
        asked
    }

    fn note(&mut self, other: Self) {
        self.added.extend(other.added);
        self.removed.extend(other.removed);
        self.doubtful.extend(other.doubtful);
        self.has_unknown |= other.has_unknown;
    }
}

impl Replicas {
    async fn start(count: u16) -> Self {
        let (world, mut running) = (World::new(), Vec::new());
        for number in 1..=count {
            running.push(world.start(number, &World::config()).await.unwrap());
        }
        Self { world, running }
    }

    /// Lets something go wrong, or right again.
    async fn disturb(&mut self, random: &mut Random) {
        let at = random.below(self.running.len());
        match random.below(6) {
            0 | 1 => self.world.disk.cut_off(self.running[at].0, random.coin()),
            2 => self.world.disk.deafen(random.coin()),
            3 => self.world.disk.refuse_links(random.below(4)),
            4 => {
                self.world.disk.cut_off(self.running[at].0, false);
                let (_, ended) = self.running.remove(at);
                ended.shutdown().await;
                self.world.disk.refuse_links(0);
                let number = self.running.len() as u16 + 10 * (1 + random.below(500) as u16);
                let started = self.world.start(number, &World::config()).await.unwrap();
                self.running.insert(at, started);
            }
            _ => sleep(random.up_to(Duration::from_secs(20))).await,
        }
    }

    /// Lets everything be well again.
    fn mend(&self) {
        self.world.disk.deafen(false);
        self.world.disk.refuse_links(0);
        self.running.iter().for_each(|(id, _)| self.world.disk.cut_off(*id, false));
    }
}

async fn run(seed: u64) {
    let (mut random, mut replicas) = (Random::new(seed), Replicas::start(3).await);
    let mut asked = Asked::default();
    for _ in 0..STEPS {
        if random.percent(30) {
            replicas.disturb(&mut random).await;
        }
        let [one, two] = [(); 2].map(|()| random.below(3));
        let (mut first, mut second) = (random.fork(), random.fork());
        let changes = tokio::join!(
            Asked::change(&replicas.running[one].1, &mut first),
            Asked::change(&replicas.running[two].1, &mut second),
        );
        asked.note(changes.0);
        asked.note(changes.1);
        sleep(random.up_to(Duration::from_millis(300))).await;
    }
    replicas.mend();
    let agree = async || {
        let mut states = replicas.running.iter().map(|(_, service)| all(service));
        let first = states.next().unwrap();
        states.all(|state| state == first)
    };
    sleep(Duration::from_secs(60)).await;
    eventually(agree).await;
    let fresh = replicas.world.start(9, &World::config()).await.unwrap().1;
    assert_eq!(all(&fresh), all(&replicas.running[0].1), "seed {seed}: nothing is only in memory");
    let present = known(&fresh);
    let undone: Vec<_> = present.intersection(&asked.removed).collect();
    assert!(undone.is_empty(), "seed {seed}: {undone:?} was removed, and is there");
    let lost: Vec<_> = asked
        .added
        .difference(&asked.removed)
        .filter(|link| !asked.doubtful.contains(link) && !present.contains(link))
        .collect();
    assert!(lost.is_empty(), "seed {seed}: {lost:?} was added, and is gone");
    let foreign = present.difference(&asked.added).count();
    assert!(asked.has_unknown || foreign == 0, "seed {seed}: {foreign} are there by nobody");
}

#[tokio::test(start_paused = true)]
async fn replicas_agree_on_links_whatever_changes_where_while_anything_fails() {
    for seed in 1..=SEEDS {
        run(seed).await;
    }
}
