//! Who holds the memory: jemalloc's sampled allocations that are not freed.
//!
//! jemalloc can tell only when it was started to: with `prof:true` in `_RJEM_MALLOC_CONF`.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use hyper::StatusCode;
use tikv_jemalloc_ctl::{Access, AsName};

use super::message::{Location, Mapping};
use super::{Writer, following};
use crate::http_server::{Answer, Large, Packing, text, typed};

const NOT_ENABLED: &str =
    "heap profiling is not enabled; start with _RJEM_MALLOC_CONF=prof:true,prof_active:false\n";
const NOT_ACTIVE: &str =
    "heap profiling not active; activate with /debug/pprof/heap/profiling?activate=true\n";

/// Whether allocations are sampled; `None` when the process was not started to.
fn active() -> Option<bool> {
    let enabled: bool = b"opt.prof\0".name().read().ok()?;
    if enabled { b"prof.active\0".name().read().ok() } else { None }
}

/// Tells whether allocations are sampled, after `activate=true` or `activate=false` has changed it.
pub(in crate::admin) fn switch(query: &str) -> Answer {
    if active().is_none() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, NOT_ENABLED);
    }
    let wanted = query.split('&').find_map(|pair| pair.strip_prefix("activate="));
    let changed = match wanted {
        None => Ok(()),
        Some("true") => b"prof.active\0".name().write(true),
        Some("false") => b"prof.active\0".name().write(false),
        Some(_) => return text(StatusCode::BAD_REQUEST, "invalid activate value; expected true or false\n"),
    };
    match (changed, active()) {
        (Ok(()), Some(now)) => text(StatusCode::OK, format!("heap profiling active: {now}\n")),
        (Err(error), _) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        (Ok(()), None) => text(StatusCode::INTERNAL_SERVER_ERROR, NOT_ENABLED),
    }
}

/// What is allocated now, as a gzipped profile.
pub(in crate::admin) async fn dump(bodies: &Large) -> Answer {
    match active() {
        None => return text(StatusCode::INTERNAL_SERVER_ERROR, NOT_ENABLED),
        Some(false) => return text(StatusCode::INTERNAL_SERVER_ERROR, NOT_ACTIVE),
        Some(true) => {}
    }
    match bodies.build(|| Packing::Gzip.pack(&convert(&told()?)?).ok()).await {
        Some(body) => typed(StatusCode::OK, "application/octet-stream", body),
        None => text(StatusCode::INTERNAL_SERVER_ERROR, "the heap profile cannot be written\n"),
    }
}

/// jemalloc's own words. It writes to a path only: that of a file that exists in memory alone, as the file system of a
/// proxy's container is read-only.
fn told() -> Option<String> {
    let name = rustix::fs::memfd_create("heap", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    let mut file = File::from(name);
    let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
    // The library takes only what lives for ever; twenty bytes a profile.
    let path: &'static [u8] = Box::leak(path.into_bytes().into_boxed_slice());
    b"prof.dump\0".name().write(path).ok()?;
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

/// From `heap_v2` text to pprof: stacks with what is in use below each, then the process's memory map.
pub(super) fn convert(told: &str) -> Option<Vec<u8>> {
    let (stacks, map) = told.split_once("MAPPED_LIBRARIES:\n").unwrap_or((told, ""));
    let mut lines = stacks.lines();
    let interval: u32 = lines.next()?.strip_prefix("heap_v2/")?.parse().ok()?;
    let mut out = Writer::of(&[["objects", "count"], ["inuse_space", "bytes"]], interval.into());
    for (line, number) in map.lines().zip(1..) {
        if let Some(mapping) = mapping(&mut out, line, number) {
            out.profile.mapping.push(mapping);
        }
    }
    let mut stack: Vec<u64> = Vec::new();
    for line in lines {
        if let Some(addresses) = line.strip_prefix("@ ") {
            let addresses = addresses.split_whitespace().filter_map(|word| word.strip_prefix("0x"));
            stack = addresses.filter_map(|hex| u64::from_str_radix(hex, 16).ok()).collect();
        } else if let Some(counts) = line.trim_start().strip_prefix("t*: ").filter(|_| !stack.is_empty()) {
            let mut words = counts.split_whitespace().map(|word| word.trim_end_matches(':'));
            let (objects, bytes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let places = stack.drain(..).map(|address| place(&mut out, address)).collect();
            let [objects, bytes] = unsampled(objects, bytes, interval.into());
            out.sample(places, vec![objects, bytes], None);
        }
    }
    Some(out.done())
}

/// A line of `/proc/self/maps` that names a file with code in it.
fn mapping(out: &mut Writer, line: &str, id: u64) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, limit) = words.next()?.split_once('-')?;
    let code = words.next()?.contains('x');
    let offset = words.next()?;
    let file = words.nth(2).filter(|file| file.starts_with('/') && code)?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some(Mapping {
        id,
        memory_start: hex(start)?,
        memory_limit: hex(limit)?,
        file_offset: hex(offset)?,
        filename: out.string(file),
    })
}

/// A return address. Tools find its name in the file that is mapped there.
fn place(out: &mut Writer, address: u64) -> u64 {
    let next = out.profile.location.len();
    let key = (address, -1);
    if let Some(id) = out.locations.get(&key) {
        return *id;
    }
    let within = |m: &&Mapping| (m.memory_start..m.memory_limit).contains(&address);
    let mapping_id = out.profile.mapping.iter().find(within).map_or(0, |mapping| mapping.id);
    let id = following(next);
    // The call itself is before where it returns to.
    let address = address.saturating_sub(1);
    out.profile.location.push(Location { id, mapping_id, address, line: Vec::new() });
    out.locations.insert(key, id);
    id
}

/// What was allocated, from what was sampled of it: an allocation of `size` bytes is sampled with probability
/// `1 - exp(-size / interval)`.
fn unsampled(objects: u32, bytes: u64, interval: f64) -> [i64; 2] {
    if objects == 0 {
        return [0, 0];
    }
    let (count, total) = (f64::from(objects), number(bytes));
    let share = -(-(total / count) / interval).exp_m1();
    [whole(count / share), whole(total / share)]
}

/// Exact below two to the fifty-third.
fn number(bytes: u64) -> f64 {
    let halves =
        [bytes >> 32, bytes & 0xffff_ffff].map(|half| f64::from(u32::try_from(half).unwrap_or(u32::MAX)));
    halves[0].mul_add(4_294_967_296.0, halves[1])
}

/// There is no lossless conversion; text has one, and this is no hot path.
fn whole(value: f64) -> i64 {
    format!("{value:.0}").parse().unwrap_or(i64::MAX)
}
