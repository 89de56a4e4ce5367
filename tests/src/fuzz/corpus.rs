//! The seeds of a target, and mutations of them: the same ones in every run.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a target's seeds.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// A target's seeds by file name, in the order of their names.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("no seeds in {}: {e}", folder.display()));
    let mut seeds: Vec<_> = files
        .map(|file| {
            let file = file.expect("a readable folder");
            let name = file.file_name().to_string_lossy().into_owned();
            (name, fs::read(file.path()).expect("a readable seed"))
        })
        .collect();
    seeds.sort();
    seeds
}

/// An endless row of mutations.
#[derive(Debug)]
pub struct Mutations {
    seeds: Vec<Vec<u8>>,
    state: u64,
}

impl Mutations {
    /// Mutations of these seeds, of which there must be one.
    pub fn of(seeds: Vec<Vec<u8>>) -> Self {
        assert!(!seeds.is_empty(), "nothing to mutate");
        Self { seeds, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A number below `bound`, which must not be 0.
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(bits).unwrap_or_default() % bound
    }

    fn seed(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len());
        self.seeds[at].clone()
    }

    fn byte(&mut self) -> u8 {
        if self.below(2) == 0 {
            return TELLING[self.below(TELLING.len())];
        }
        u8::try_from(self.below(256)).unwrap_or_default()
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let (a, b) = (self.below(length + 1), self.below(length + 1));
        a.min(b)..a.max(b)
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        match self.below(7) {
            0 => bytes.insert(at, self.byte()),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(self.range(bytes.len()))),
            3 => {
                let copy = bytes[self.range(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let other = self.seed();
                let part = other[self.range(other.len())].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let value = self.byte();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = if value & 1 == 0 { value } else { *byte ^ (1 << (value >> 5)) };
                }
            }
        }
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.seed();
        for _ in 0..=self.below(6) {
            self.mutate(&mut bytes);
        }
        bytes.truncate(LONGEST);
        Some(bytes)
    }
}

/// Bytes that parsers make something of.
const TELLING: &[u8] = b"\0\x01\x02\x08\x0a\x12\x7f\x80\xfe\xff \t\r\n\",;=%:/[]{}()-.0169aAfFzZ\\";
/// Enough for every limit that is not a matter of size alone.
const LONGEST: usize = 32 << 10;
