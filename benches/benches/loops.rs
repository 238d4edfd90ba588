//! Times the hot loops: `cargo bench -p icecore-benches --features criterion`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use icecore_benches::loops::{self, Amount};

fn time(criterion: &mut Criterion) {
    for mut each in loops::all().expect("the loops are made") {
        let mut group = criterion.benchmark_group("loops");
        group.throughput(match each.amount {
            Amount::Bytes(bytes) => Throughput::Bytes(bytes),
            Amount::Elements(count) => Throughput::Elements(count),
        });
        group.bench_function(each.name, |bencher| bencher.iter(&mut each.run));
        group.finish();
    }
}

criterion_group!(benches, time);
criterion_main!(benches);
