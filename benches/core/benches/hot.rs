//! The time of what is done for every event, and of what is done for every account.
//!
//! `cargo bench -p core-bench --bench hot`

use std::hint::black_box;

use core_bench::{CLOUD_EVENT, NATIVE, NOW, SEGMENT, account, decoder, event, life_length, model};
use criterion::{BatchSize, Criterion, Throughput};
use event::wire;
use health::{Account, Mode, SegmentBaselines};

fn decode(criterion: &mut Criterion) {
    let decoder = decoder();
    let mut group = criterion.benchmark_group("decode");
    for (name, payload) in [
        ("native", NATIVE),
        ("segment", SEGMENT),
        ("cloudevents", CLOUD_EVENT),
    ] {
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| decoder.decode(black_box(payload.as_bytes()), &[], NOW, "usage.events"));
        });
    }
    let known = event(17, 1);
    let mut record = Vec::new();
    wire::encode(&known, &mut record);
    group.throughput(Throughput::Bytes(record.len() as u64));
    group.bench_function("wire", |bencher| {
        bencher.iter(|| wire::decode(black_box(&record)))
    });
    group.bench_function("to_wire", |bencher| {
        bencher.iter(|| {
            record.clear();
            wire::encode(black_box(&known), &mut record);
        });
    });
    group.finish();
}

fn accounts(criterion: &mut Criterion) {
    let model = model();
    let segments = SegmentBaselines::default();
    let mut typical = account(17, &model);
    let mut group = criterion.benchmark_group("account");
    let mut next = life_length();
    let more: Vec<_> = (0..1_000).map(|place| event(17, next + place)).collect();
    group.throughput(Throughput::Elements(more.len() as u64));
    group.bench_function("fold a thousand", |bencher| {
        bencher.iter_batched(
            || typical.clone(),
            |mut account| {
                for event in &more {
                    next += 1;
                    black_box(account.fold(event, next, &model));
                }
                account
            },
            BatchSize::LargeInput,
        );
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("evaluate", |bencher| {
        bencher.iter(|| black_box(typical.evaluate(NOW, Mode::Live, 0, &segments, &model)));
    });
    let saved = typical.encode(&model);
    group.throughput(Throughput::Bytes(saved.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| black_box(typical.encode(&model)))
    });
    group.bench_function("restore", |bencher| {
        bencher.iter(|| Account::decode("account-000017", black_box(&saved)));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decode(&mut criterion);
    accounts(&mut criterion);
    criterion.final_summary();
}
