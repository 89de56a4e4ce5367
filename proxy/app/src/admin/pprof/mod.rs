//! Profiles of the process itself, in pprof's format: where its CPU time goes, and who holds its memory.

mod cpu;
mod heap;
mod message;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use prost::Message;

use message::{Function, Label, Line, Location, Profile, Sample, ValueType};

pub(super) use cpu::cpu;
pub(super) use heap::{dump, switch};

/// A profile that is being written: everything that repeats is told once and named by its number.
#[derive(Default)]
struct Writer {
    profile: Profile,
    strings: HashMap<String, i64>,
    functions: HashMap<[i64; 2], u64>,
    locations: HashMap<(u64, i64), u64>,
}

impl Writer {
    /// Of samples with these values, each a name and a unit; the last one is what a sample was taken for.
    fn of(values: &[[&str; 2]], period: i64) -> Self {
        let mut this = Self::default();
        // The first string is the empty one.
        this.string("");
        for [kind, unit] in values {
            let value = ValueType { kind: this.string(kind), unit: this.string(unit) };
            this.profile.sample_type.push(value);
            this.profile.period_type = Some(value);
        }
        this.profile.period = period;
        this
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(number) = self.strings.get(text) {
            return *number;
        }
        let number = signed(self.profile.string_table.len());
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), number);
        number
    }

    /// One place in the program, by name.
    fn named(&mut self, name: &str, file: &str, line: i64) -> u64 {
        let key = [self.string(name), self.string(file)];
        let [name, filename] = key;
        let next = self.profile.function.len();
        let function = match self.functions.entry(key) {
            Entry::Occupied(there) => *there.get(),
            Entry::Vacant(free) => {
                let id = following(next);
                self.profile.function.push(Function { id, name, system_name: name, filename });
                *free.insert(id)
            }
        };
        let next = self.profile.location.len();
        match self.locations.entry((function, line)) {
            Entry::Occupied(there) => *there.get(),
            Entry::Vacant(free) => {
                let id = following(next);
                let line = vec![Line { function_id: function, line }];
                self.profile.location.push(Location { id, mapping_id: 0, address: 0, line });
                *free.insert(id)
            }
        }
    }

    fn sample(&mut self, places: Vec<u64>, value: Vec<i64>, label: Option<[&str; 2]>) {
        let label = label.map(|[key, text]| Label { key: self.string(key), text: self.string(text) });
        self.profile.sample.push(Sample { location_id: places, value, label: label.into_iter().collect() });
    }

    fn done(self) -> Vec<u8> {
        self.profile.encode_to_vec()
    }
}

/// Numbers of functions, places and mappings begin with one.
fn following(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
