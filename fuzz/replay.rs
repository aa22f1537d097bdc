//! The stable fallback of the fuzzers: each target over its kept corpus and over seeded changes of it.
//!
//! Included by path into the tests of the crates whose targets it runs, so that it needs no crate, no nightly and no build of
//! its own: `cargo test` runs it wherever Rust is. It is blind: it does not see which code an input reaches. libFuzzer does,
//! where a nightly is (`make fuzz`). A thousand inputs a target; with `ELS_FUZZ_SECONDS=N` as many as N seconds allow.

use std::path::Path;
use std::time::{Duration, Instant};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus");
const CORPUS_OF_MEMBERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
const INPUTS: usize = 1000;
/// No input grows beyond this; larger ones are what limits are for, and have tests of their own.
const LARGEST: usize = 16 * 1024;

/// Runs all targets of the crate whose names begin with `owner`.
pub(super) fn all(owner: &str, targets: &[super::Target]) {
    let folder = [CORPUS, CORPUS_OF_MEMBERS].map(Path::new).into_iter().find(|path| path.is_dir());
    let folder = folder.expect("fuzz/corpus");
    let mut kept: Vec<String> = names(folder).into_iter().filter(|name| name.starts_with(owner)).collect();
    for (target, run) in targets {
        let corpus: Vec<Vec<u8>> = {
            let path = folder.join(target);
            names(&path).iter().map(|name| std::fs::read(path.join(name)).expect("an input")).collect()
        };
        assert!(!corpus.is_empty(), "{target} has no corpus");
        kept.retain(|name| name != target);
        replay(target, *run, &corpus);
    }
    assert_eq!(kept, [""; 0], "a corpus of no target");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect();
    names.sort();
    names
}

fn replay(target: &str, run: fn(&[u8]), corpus: &[Vec<u8>]) {
    let seconds = std::env::var("ELS_FUZZ_SECONDS").ok().map(|text| text.parse().expect("ELS_FUZZ_SECONDS"));
    let begin = Instant::now();
    let mut dice = Dice(0x005e_ed0f_e150_u64 ^ target.len() as u64);
    for input in corpus {
        try_one(target, run, input);
    }
    let mut tried = 0;
    let enough = |tried: usize| match seconds {
        Some(seconds) => begin.elapsed() >= Duration::from_secs(seconds),
        None => tried >= INPUTS,
    };
    while !enough(tried) {
        let mut input = corpus[dice.below(corpus.len())].clone();
        for _ in 0..=dice.below(6) {
            dice.change(&mut input, corpus);
        }
        input.truncate(LARGEST);
        try_one(target, run, &input);
        tried += 1;
    }
    println!("{target}: {} kept inputs, {tried} changed ones, failures 0", corpus.len());
}

fn try_one(target: &str, run: fn(&[u8]), input: &[u8]) {
    /// Says which input it was when the target panics.
    struct Trying<'a>(&'a str, &'a [u8]);
    impl Drop for Trying<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}: the input was \"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }
    let _trying = Trying(target, input);
    run(input);
}

/// Numbers that look random and are the same each time (Knuth's multiplier).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }

    /// One change: a byte, a bit, a piece that goes, comes twice, or comes from another input.
    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        const ODD: &[u8] = b"\0\n\r\t \"'%&,-./0:;=?@[\\]{}_~9AZaz\x1b\x7f\x80\xff";
        let at = self.below(input.len() + 1);
        match self.below(7) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = ODD[self.below(ODD.len())],
            2 => input.insert(at, ODD[self.below(ODD.len())]),
            3 if at < input.len() => drop(input.drain(at..(at + 1 + self.below(8)).min(input.len()))),
            4 if at < input.len() => {
                let piece = input[at..(at + 1 + self.below(32)).min(input.len())].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            5 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                let piece = other[from..(from + self.below(64)).min(other.len())].to_vec();
                input.splice(at..at, piece);
            }
            _ => input.truncate(at),
        }
    }
}
