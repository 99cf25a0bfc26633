//! The cost of a handshake for each side, and of refusing a stranger.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use paddington_crypto::KeyPair;
use paddington_wire::link::{Link, LinkConfig};
use paddington_wire::sealed::{
    AwaitReply, Challenge, Credentials, HelloRandom, Initiator, ReplyRandom, Responder,
};
use paddington_wire::{Frame, Instance, hex};

const MAX_PAYLOAD: u32 = 1024 * 1024;

/// A link's secrets, for each side.
fn link() -> [Arc<Credentials>; 2] {
    let keys = KeyPair::generate().unwrap();
    let (server, client) = ("server".parse().unwrap(), "client".parse().unwrap());
    [(); 2].map(|()| Arc::new(Credentials::new(&server, &client, &keys)))
}

fn hello(link: &Arc<Credentials>, challenge: &Challenge) -> (AwaitReply, Vec<u8>) {
    let random = HelloRandom::generate().unwrap();
    let initiator = Initiator::new(Arc::clone(link), Instance::from([1; 16]));
    let (waiting, hello) = initiator.hello(challenge, random).unwrap();
    (waiting, hello.to_vec())
}

fn ready() -> Frame {
    Frame::Ready(Link::new(LinkConfig::default(), Instance::from([1; 16])).ready())
}

/// The server's side: authenticates, replies and seals its first frame.
fn serve(
    ours: &Arc<Credentials>,
    challenge: Challenge,
    decoy: &Arc<Credentials>,
    hello: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let responder = Responder::new(challenge, Arc::clone(decoy));
    let client = responder.authenticate(hello, std::slice::from_ref(ours)).unwrap();
    let (mut waiting, reply) = client.reply(&ReplyRandom::generate().unwrap()).unwrap();
    let first = waiting.first(&ready()).unwrap();
    (reply.to_vec(), first.to_vec())
}

fn sealed(criterion: &mut Criterion) {
    let [ours, theirs] = link();
    let decoy = Arc::new(Credentials::decoy().unwrap());
    let challenge = Challenge::random().unwrap();
    let mut group = criterion.benchmark_group("handshake sealed");
    group.bench_function("client", |bench| {
        bench.iter_batched(
            || {
                let (waiting, hello) = hello(&theirs, &challenge);
                (waiting, serve(&ours, challenge, &decoy, &hello))
            },
            |(waiting, (reply, first))| {
                // the client's own hello, which the setup did not time
                let _own_hello = hello(&theirs, &challenge);
                let client = waiting.finish(&reply).unwrap();
                client.finish(&first, MAX_PAYLOAD).unwrap()
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("server", |bench| {
        bench.iter_batched(
            || hello(&theirs, &challenge).1,
            |hello| serve(&ours, challenge, &decoy, &hello),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn refusal(criterion: &mut Criterion) {
    let decoy = Arc::new(Credentials::decoy().unwrap());
    let challenge = Challenge::random().unwrap();
    let mut group = criterion.benchmark_group("refuse a stranger");
    for clients in [1, 1_000] {
        let candidates: Vec<_> = (0..clients).map(|_| link()[0].clone()).collect();
        let stranger = hello(&link()[1], &challenge).1;
        group.bench_with_input(BenchmarkId::new("sealed", clients), &stranger, |bench, hello| {
            bench.iter(|| {
                let responder = Responder::new(challenge, Arc::clone(&decoy));
                responder.authenticate(hello, &candidates).unwrap_err()
            });
        });
        let candidates: Vec<_> = (0..clients)
            .map(|_| Arc::new(hex::Credentials::new(Arc::new(KeyPair::generate().unwrap()))))
            .collect();
        let stranger = Arc::new(hex::Credentials::new(Arc::new(KeyPair::generate().unwrap())));
        let (_, stranger) = hex::Initiator::new(stranger).hello().unwrap();
        group.bench_with_input(BenchmarkId::new("hex", clients), &stranger, |bench, hello| {
            bench.iter(|| hex::authenticate(hello, &candidates).unwrap_err());
        });
    }
    group.finish();
}

fn hex_handshake(criterion: &mut Criterion) {
    let keys = Arc::new(KeyPair::generate().unwrap());
    let link = || Arc::new(hex::Credentials::new(Arc::clone(&keys)));
    let (ours, theirs) = (link(), link());
    let mut group = criterion.benchmark_group("handshake hex");
    group.bench_function("both sides", |bench| {
        bench.iter(|| {
            let (waiting, hello) = hex::Initiator::new(Arc::clone(&theirs)).hello().unwrap();
            let client = hex::authenticate(&hello, std::slice::from_ref(&ours)).unwrap();
            let (server, reply) = client.reply().unwrap();
            (server, waiting.finish(&reply).unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, sealed, refusal, hex_handshake);
criterion_main!(benches);
