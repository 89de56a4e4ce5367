//! jemalloc's text as a pprof profile.

use prost::Message;

use super::heap::convert;
use super::message::Profile;

const TOLD: &str = "heap_v2/524288
  t*: 3: 1573376 [0: 0]
  t0: 3: 1573376 [0: 0]
@ 0x5500001001 0x5500002001 0x7f0000001001
  t*: 2: 1048576 [0: 0]
  t0: 2: 1048576 [0: 0]
@ 0x5500002001
  t*: 1: 512 [0: 0]
  t1: 1: 512 [0: 0]

MAPPED_LIBRARIES:
5500000000-5500010000 r-xp 00001000 fe:00 1 /usr/local/bin/ztunnel
5500010000-5500020000 rw-p 00011000 fe:00 1 /usr/local/bin/ztunnel
7f0000000000-7f0000010000 r-xp 00000000 fe:00 2 /lib/libc.so.6
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0 [vdso]
";

#[test]
fn a_heap_is_told_by_stack_with_what_was_not_sampled() {
    let profile = Profile::decode(&*convert(TOLD).expect("it converts")).expect("a profile");
    let text = |number: i64| profile.string_table[usize::try_from(number).expect("a number")].as_str();
    let kinds: Vec<_> =
        profile.sample_type.iter().map(|value| (text(value.kind), text(value.unit))).collect();
    assert_eq!(kinds, [("objects", "count"), ("inuse_space", "bytes")]);
    assert_eq!(profile.period, 524_288);
    let files: Vec<_> = profile.mapping.iter().map(|mapping| (mapping.id, text(mapping.filename))).collect();
    assert_eq!(files, [(1, "/usr/local/bin/ztunnel"), (3, "/lib/libc.so.6")]);
    let [large, small] = &profile.sample[..] else { panic!("two stacks: {:?}", profile.sample) };
    // As large as the interval: sampled with probability 1 - 1/e.
    assert_eq!(large.value, [3, 1_658_823]);
    assert_eq!(small.value, [1_025, 524_544]);
    assert_eq!(large.location_id.len(), 3);
    assert_eq!(small.location_id[0], large.location_id[1], "the same place is told once");
    let places: Vec<_> = profile.location.iter().map(|at| (at.mapping_id, at.address)).collect();
    assert_eq!(places, [(1, 0x55_0000_1000), (1, 0x55_0000_2000), (3, 0x7f00_0000_1000)]);
}

#[test]
fn what_is_no_heap_profile_is_none() {
    for told in ["", "heap_v1/1\n", "heap_v2/x\n"] {
        assert_eq!(convert(told), None, "{told:?}");
    }
}
