//! The cost of a message without the cipher: the codec of DATA and BATCH frames alone, and a
//! session that also seals and opens, by payload size.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use criterion::{criterion_group, criterion_main};
use paddington_wire::sealed::fuzzing;
use paddington_wire::{Batch, Completed, Data, Frame, Messages, Payload};

mod sessions;

const SIZES: [usize; 3] = [16, 256, 4 * 1024];
const MAX_PAYLOAD: u32 = 1024 * 1024;
/// Number of messages in a batch.
const MANY: usize = 50;
/// The size of the blocks that frames are built in, as in a session.
const BLOCK: usize = 4 * 1024;

fn data(size: usize) -> Frame {
    Frame::Data(Data {
        stream: 0,
        again: false,
        number: 7,
        ack: Completed { stream: 0, number: 6 },
        payload: Payload::text(vec![b'x'; size]),
    })
}

/// A batch of the size that a service sends, if the messages fit into its batches.
fn batch(size: usize) -> Frame {
    let payloads = vec![Payload::text(vec![b'x'; size]); MANY];
    let messages = Messages::new(payloads.iter()).unwrap();
    let ack = Completed { stream: 0, number: 6 };
    Frame::Batch(Batch { stream: 0, again: false, first: 7, ack, messages })
}

fn codec(group: &mut BenchmarkGroup<'_, WallTime>, frame: &Frame, size: usize) {
    let mut block = BytesMut::with_capacity(BLOCK);
    group.bench_function(BenchmarkId::new("encode", size), |bench| {
        bench.iter(|| {
            fuzzing::encode(black_box(frame), &mut block).unwrap();
            block.split()
        });
    });
    let mut plaintext = BytesMut::new();
    fuzzing::encode(frame, &mut plaintext).unwrap();
    assert_eq!(fuzzing::decode(&plaintext, MAX_PAYLOAD).as_ref(), Ok(frame));
    // It copies the plaintext first, as a session copies what it opens.
    group.bench_function(BenchmarkId::new("decode", size), |bench| {
        bench.iter(|| fuzzing::decode(black_box(&plaintext), MAX_PAYLOAD).unwrap());
    });
}

fn session(group: &mut BenchmarkGroup<'_, WallTime>, frame: &Frame, size: usize) {
    let [mut client, mut server] = sessions::sealed();
    group.bench_function(BenchmarkId::new("encode+seal, open+decode", size), |bench| {
        bench.iter(|| {
            let sealed = client.encode(black_box(frame)).unwrap();
            server.decode(&sealed).unwrap()
        });
    });
}

fn frames(criterion: &mut Criterion) {
    for (name, make, messages, sizes) in [
        ("frame DATA", data as fn(usize) -> Frame, 1, &SIZES[..]),
        ("frame BATCH of 50", batch, MANY, &SIZES[..2]),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(messages as u64));
        for size in sizes {
            let frame = make(*size);
            codec(&mut group, &frame, *size);
            session(&mut group, &frame, *size);
        }
        group.finish();
    }
}

criterion_group!(benches, frames);
criterion_main!(benches);
