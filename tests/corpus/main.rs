//! Each parser of a peer's bytes against its corpus, and against mutations of it.

use std::time::{Duration, Instant};

use tests::fuzz::{TARGETS, Target, corpus};

#[test]
fn every_seed_keeps_every_promise() {
    for target in TARGETS {
        for (file, bytes) in corpus::seeds(target.name) {
            println!("{}/{file}", target.name);
            (target.run)(&bytes);
        }
    }
}

#[test]
fn every_mutation_of_a_seed_keeps_every_promise() {
    for target in TARGETS {
        let seeds = corpus::seeds(target.name).into_iter().map(|(_, bytes)| bytes).collect();
        let began = Instant::now();
        for bytes in corpus::Mutations::of(seeds).take(MUTATIONS) {
            tell_if_it_fails(*target, &bytes);
            if began.elapsed() > EACH {
                break;
            }
        }
    }
}

#[test]
fn every_folder_of_the_corpus_has_its_target_and_stays_small() {
    let folders = std::fs::read_dir(corpus::folder("")).expect("the corpus");
    let mut names: Vec<_> =
        folders.map(|f| f.expect("a folder").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let mut wanted: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    wanted.sort();
    assert_eq!(names, wanted);
    let sizes = TARGETS.iter().flat_map(|t| corpus::seeds(t.name)).map(|(_, bytes)| bytes.len());
    assert!(sizes.sum::<usize>() < 300_000);
}

/// Runs it; should it panic, says with which bytes.
fn tell_if_it_fails(target: Target, bytes: &[u8]) {
    struct Tell<'a>(&'a str, &'a [u8]);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{} fails with {}", self.0, self.1.escape_ascii());
            }
        }
    }
    let _tell = Tell(target.name, bytes);
    (target.run)(bytes);
}

/// Of each target.
const MUTATIONS: usize = 5_000;
/// For each target, on a machine that has other things to do.
const EACH: Duration = Duration::from_millis(500);
