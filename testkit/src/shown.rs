//! Examples in place of values that differ from run to run, for texts that are compared with a committed file.

use std::fmt::Write as _;

/// What has been replaced, so that the same value always has the same example.
#[derive(Default)]
pub struct Shown {
    ids: Vec<String>,
}

impl Shown {
    /// The text with examples for ids, hashes and times. A time in 2099 stays: tests set it.
    pub fn text(&mut self, text: &str) -> String {
        let mut result = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != ':').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            match word {
                "" => result.push(c),
                word if is_id(word) => result += &self.example(word),
                word if word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) => result += HASH,
                word if is_time(word) && !word.starts_with("2099") => result += &TIME[..word.len()],
                word => result += word,
            }
            rest = if word.is_empty() { &rest[c.len_utf8()..] } else { after };
        }
        result
    }

    /// The text with the values for the examples.
    pub fn values(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (at, id) in self.ids.iter().enumerate() {
            text = text.replace(&example(at), id);
        }
        text
    }

    fn example(&mut self, id: &str) -> String {
        let at = self.ids.iter().position(|known| known == id).unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        example(at)
    }
}

/// Whether the word is a UUID, as registration ids are.
pub fn is_id(word: &str) -> bool {
    word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

fn example(at: usize) -> String {
    let mut text = String::new();
    write!(text, "{:08x}-4d5e-4f60-8a7b-{:012x}", 0x1b4e_28ba + at * 0x1111_1111, 0x0016_d3cc_a427_u64)
        .expect("a text");
    text
}

fn is_time(word: &str) -> bool {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00" || shape == "0000-00-00T00:00:00Z"
}

const TIME: &str = "2026-12-01T09:00:00Z";
const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
