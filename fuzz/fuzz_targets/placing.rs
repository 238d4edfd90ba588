//! Data is placed only between the holes of a file, each byte once and in order.
#![no_main]
use icecore_engine::format::Hole;
use icecore_engine::ops::restore::Layout;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (u8, u8, Vec<(u8, u8)>)| {
    let (at, bytes, gaps) = (usize::from(data.0), usize::from(data.1), data.2);
    let (mut holes, mut free, mut end) = (Vec::new(), Vec::new(), 0);
    for (gap, hole) in gaps.into_iter().take(64).filter(|(_, hole)| *hole > 0) {
        let offset = end + u64::from(gap);
        free.extend(end..offset);
        holes.push(Hole { offset, bytes: u64::from(hole) });
        end = offset + u64::from(hole);
    }
    free.extend(end..end + 512);
    let pieces = Layout::new(Some(holes)).pieces(at as u64, bytes as u64);
    let placed = pieces.into_iter().flat_map(|(to, part)| part.map(move |i| (to, i)).enumerate());
    let placed: Vec<_> = placed.map(|(along, (to, i))| (i, to + along as u64)).collect();
    assert_eq!(placed, (0..bytes).map(|i| (i, free[at + i])).collect::<Vec<_>>());
});
