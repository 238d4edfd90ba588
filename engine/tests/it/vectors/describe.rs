//! Decoded values as JSON: bytes in hex, numbers as they are, absent fields left out.

use icecore_engine::codec::OpenedCheckpoint;
use icecore_engine::format::{
    Chunking, Config, Credential, Entry, Frame, JobHeader, JobRecord, KeySlot, LogEntry, LogHeader,
    LogKey, MirrorMark, PackHeader, PackRange, Replaced, Settings, SnapshotRecord, Tagged, Time,
};
use serde_json::{Value, json};

pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("a string of hex digits");
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digits).collect()
}

fn time(time: Time) -> Value {
    json!([time.seconds, time.nanos])
}

fn ranges(ranges: &[PackRange]) -> Vec<Value> {
    ranges.iter().map(|range| json!([range.first, range.count])).collect()
}

pub fn chunking(chunking: Chunking) -> Value {
    let Chunking { bytes_min, bytes_avg, bytes_max, block_bytes } = chunking;
    json!({
        "bytes_min": bytes_min,
        "bytes_avg": bytes_avg,
        "bytes_max": bytes_max,
        "block_bytes": block_bytes,
    })
}

fn settings(settings: &Settings) -> Value {
    let mut value = json!({
        "pack_class": settings.pack_class,
        "hot_class": settings.hot_class,
        "pack_bytes": settings.pack_bytes,
        "hot_pack_bytes": settings.hot_pack_bytes,
        "small_file_bytes": settings.small_file_bytes,
    });
    if let Some(percent) = settings.parity_percent {
        value["parity_percent"] = percent.into();
    }
    value
}

pub fn config(config: &Config) -> Value {
    json!({
        "repository": hex(config.repository.0),
        "public_key": hex(config.public_key),
        "owner_key": hex(&config.authority.owner_key[..]),
        "first_writer": hex(config.authority.first_writer.0),
        "first_writer_key": hex(&config.authority.first_writer_key[..]),
        "chunking": chunking(config.chunking),
        "settings": settings(&config.settings),
    })
}

pub fn credential(credential: &Credential) -> Value {
    json!({
        "repository": hex(credential.repository.0),
        "public_key": hex(credential.public_key),
        "dedup_secret": hex(credential.dedup_secret),
        "authority": hex(credential.authority.0),
        "writer": hex(credential.writer.0),
        "signing_seed": hex(credential.signing_seed),
    })
}

pub fn log_key(key: &LogKey) -> Value {
    json!({
        "repository": hex(key.repository.0),
        "public_key": hex(key.public_key),
        "dedup_secret": hex(key.dedup_secret),
        "authority": hex(key.authority.0),
    })
}

pub fn mirror_mark(mark: MirrorMark) -> Value {
    json!({ "repository": hex(mark.repository.0) })
}

pub fn key_slot(slot: &KeySlot) -> Value {
    json!({
        "repository": hex(slot.repository.0),
        "slot": hex(slot.slot.0),
        "created": slot.created,
        "memory_kib": slot.cost.memory_kib,
        "passes": slot.cost.passes,
        "lanes": slot.cost.lanes,
        "salt": hex(slot.salt),
        "commitment": hex(slot.commitment),
        "label": slot.label,
        "sealed": hex(slot.sealed),
    })
}

pub fn job(header: &JobHeader, job: &JobRecord) -> Value {
    json!({
        "repository": hex(header.repository.0),
        "job": hex(header.job.0),
        "salt": hex(header.salt),
        "snapshot": hex(job.snapshot.0),
        "created": [job.created.seconds, job.created.nanos],
        "host": job.host,
        "path": hex(&job.path[..]),
        "include": job.include,
        "exclude": job.exclude,
        "target": hex(&job.target[..]),
        "overwrite": job.overwrite as u8,
        "delete": job.delete,
        "verify": job.verify,
        "tier": job.tier as u8,
        "days": job.days,
        "agreed_micro_usd": job.agreed_micro_usd,
        "seeds": job.seeds.iter().map(|seed| hex(&seed[..])).collect::<Vec<_>>(),
    })
}

pub fn log(header: &LogHeader, entry: &LogEntry) -> Value {
    let packs = entry.packs.iter().map(|pack| {
        json!({
            "id": hex(pack.id.0),
            "kind": pack.kind as u8,
            "bytes": pack.bytes,
            "digest": hex(pack.digest.0),
            "crc64": format!("{:016x}", pack.crc64),
            "class": pack.class,
            "table": hex(&pack.table[..]),
        })
    });
    let snapshots = entry.snapshots.iter().map(|snapshot| {
        let sources = snapshot.sources.iter().flatten();
        let sources: Vec<Value> =
            sources.map(|source| json!([hex(source.key.0), source.files, source.empty])).collect();
        let mut value = json!({
            "id": hex(snapshot.id.0),
            "time": time(snapshot.time),
            "host": snapshot.host,
            "tags": snapshot.tags,
            "record": hex(snapshot.record.0),
            "files": snapshot.files,
            "bytes": snapshot.bytes,
            "packs": ranges(&snapshot.packs),
            "paths_key": hex(snapshot.paths_key.0),
        });
        add(&mut value, "history", snapshot.history.as_ref().map(|name| json!(name)));
        add(&mut value, "marked", snapshot.marked.map(|marked| json!(marked)));
        add(&mut value, "sources", snapshot.sources.as_ref().map(|_| json!(sources)));
        value
    });
    let mut value = json!({
        "repository": hex(header.repository.0),
        "number": header.number,
        "salt": hex(header.salt),
        "previous": hex(entry.previous.0),
        "time": time(entry.time),
        "packs": packs.collect::<Vec<_>>(),
        "snapshots": snapshots.collect::<Vec<_>>(),
        "dropped": entry.dropped.iter().map(|id| hex(id.0)).collect::<Vec<_>>(),
        "tombstones": ranges(&entry.tombstones),
        "settings": entry.settings.as_ref().map(settings),
        "orphans": entry.orphans.iter().map(|id| hex(id.0)).collect::<Vec<_>>(),
        "undropped": entry.undropped.iter().map(|id| hex(id.0)).collect::<Vec<_>>(),
        "moved": entry.moved.iter().map(|moved| json!([moved.from, ranges(&moved.to)])).collect::<Vec<_>>(),
        "lost": entry.lost.iter().map(|lost| json!([lost.pack, ranges(&lost.slots)])).collect::<Vec<_>>(),
        "found": entry.found.iter().map(|found| json!([found.pack, ranges(&found.slots)])).collect::<Vec<_>>(),
    });
    let accepted = entry.accepted.as_ref();
    let accepted = accepted.map(|ids| ids.iter().map(|id| hex(id.0)).collect::<Vec<_>>());
    add(&mut value, "accepted", accepted.map(|ids| json!(ids)));
    add(&mut value, "flags", (header.flags > 0).then(|| json!(header.flags)));
    let replaced = entry.replaced.as_ref().map(|all| {
        let pair = |pair: &Replaced| json!([hex(pair.new.0), hex(pair.old.0)]);
        json!(all.iter().map(pair).collect::<Vec<_>>())
    });
    add(&mut value, "replaced", replaced);
    let tagged = entry.tagged.as_ref().map(|all| {
        let tagged = |tagged: &Tagged| json!([hex(tagged.snapshot.0), tagged.tags]);
        json!(all.iter().map(tagged).collect::<Vec<_>>())
    });
    add(&mut value, "tagged", tagged);
    let slots = entry.slots.as_ref();
    let slots = slots.map(|slots| slots.iter().map(|id| hex(id.0)).collect::<Vec<_>>());
    add(&mut value, "slots", slots.map(|slots| json!(slots)));
    add(&mut value, "seen", entry.seen.map(|seen| json!(hex(seen.0))));
    value
}

/// Adds an optional field if it is present.
fn add(value: &mut Value, name: &str, field: Option<Value>) {
    if let Some(field) = field {
        value[name] = field;
    }
}

pub fn checkpoint(checkpoint: &OpenedCheckpoint) -> Value {
    let slots = checkpoint.slots.iter().zip(&checkpoint.proofs).map(|(slot, proof)| {
        let mut value = json!({ "digest": hex(slot.digest.0) });
        if let (Some(content), Some(proof)) = (&slot.content, proof) {
            value["version"] = content.version.into();
            value["flags"] = content.flags.into();
            value["author"] = hex(content.author.0).into();
            value["record"] = hex(&content.record).into();
            value["salt"] = hex(proof.salt).into();
            value["signature_blake3"] = hex(blake3::hash(&proof.signature).as_bytes()).into();
        }
        value
    });
    json!({
        "repository": hex(checkpoint.header.repository.0),
        "first": checkpoint.header.first,
        "salt": hex(checkpoint.header.salt),
        "slots": slots.collect::<Vec<_>>(),
    })
}

pub fn tree(entries: &[Entry]) -> Value {
    let entries = entries.iter().map(|entry| {
        let chunks = entry.chunks.as_ref().map(|ids| ids.chunks(32).map(hex).collect::<Vec<_>>());
        let holes = entry.holes.as_ref().map(|holes| {
            holes.iter().map(|hole| json!([hole.offset, hole.bytes])).collect::<Vec<_>>()
        });
        let xattrs = entry.xattrs.as_ref().map(|xattrs| {
            let pair =
                |x: &icecore_engine::format::Xattr| json!([hex(&x.name[..]), hex(&x.value[..])]);
            xattrs.iter().map(pair).collect::<Vec<_>>()
        });
        let mut value = json!({
            "name": hex(&entry.name[..]),
            "kind": entry.kind as u8,
            "mode": entry.mode,
            "uid": entry.uid,
            "gid": entry.gid,
            "mtime": time(entry.mtime),
            "size": entry.size,
            "chunks": chunks,
            "holes": holes,
            "target": entry.target.as_ref().map(|target| hex(&target[..])),
            "xattrs": xattrs,
            "link": entry.link,
            "device": entry.device,
            "mark": entry.mark,
        });
        value.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        value
    });
    entries.collect()
}

pub fn snapshot_record(record: &SnapshotRecord) -> Value {
    let places = record.places.as_ref().map(|places| {
        let pair =
            |p: &icecore_engine::format::SourcePlace| json!([hex(&p.path[..]), hex(&p.place[..])]);
        places.iter().map(pair).collect::<Vec<_>>()
    });
    let mut value = json!({
        "id": hex(record.id.0),
        "time": time(record.time),
        "paths": record.paths.iter().map(|path| hex(&path[..])).collect::<Vec<_>>(),
        "root": record.root.chunks(32).map(hex).collect::<Vec<_>>(),
        "host": record.host,
        "tags": record.tags,
        "program": record.program,
        "failed": record.failed,
    });
    add(&mut value, "places", places.map(|places| json!(places)));
    add(&mut value, "history", record.history.as_ref().map(|name| json!(name)));
    add(&mut value, "base", record.base.as_ref().map(|base| json!(hex(&base[..]))));
    value
}

pub fn pack_header(header: &PackHeader) -> Value {
    json!({
        "kind": header.kind as u8,
        "repository": hex(header.repository.0),
        "pack": hex(header.pack.0),
        "commitment": hex(header.commitment),
    })
}

pub fn frame(frame: &Frame, offset: u64, plaintext: &[u8]) -> Value {
    json!({
        "id": hex(frame.id.0),
        "raw_bytes": frame.raw_bytes,
        "stored_bytes": frame.stored_bytes,
        "codec": frame.codec as u8,
        "offset": offset,
        "plaintext": hex(plaintext),
    })
}
