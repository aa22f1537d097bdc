//! Checks the Japanese texts against docs/developer/japanese.md and the glossary: words, spaces, punctuation, nothing left in
//! English. textlint checks the sentences of the documents (`scripts/lint-ja`).

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use crate::{read, workspace};

/// What is wrong with the Japanese texts.
pub(crate) fn faults() -> Result<Vec<String>> {
    let page = read(PAGE)?;
    let rules = Rules::read(&page, &read(GLOSSARY)?)?;
    let mut faults = Vec::new();
    for (path, line, text) in texts()? {
        let mut fault = |what: String| faults.push(format!("{path}:{line}: {what}: {text}"));
        rules.judge(&text, &mut fault);
    }
    Ok(faults)
}

/// A text, and where it is: each string of the messages, and each line of the documents without its code.
fn texts() -> Result<Vec<(String, usize, String)>> {
    let mut texts = Vec::new();
    for path in files("src/messages/ja", ".rs")?.into_iter().chain(["host/src/messages/ja.rs".to_owned()]) {
        for (line, text) in strings(&read(&path)?) {
            texts.extend(text.split('\n').map(|text| (path.clone(), line, without_quoted(text))));
        }
    }
    let documents = [files("docs/guide/ja/src", ".md")?, files("xtask/man/ja", "")?, vec!["EULA.ja.txt".to_owned()]];
    for path in documents.concat() {
        let mut in_code = false;
        for (index, line) in read(&path)?.lines().enumerate() {
            let fence = line.trim_start().starts_with("```");
            in_code ^= fence;
            if !in_code && !fence && !line.starts_with("<!--") && !is_setting(&path, line) {
                texts.push((path.clone(), index + 1, without_code(line)));
            }
        }
    }
    Ok(texts)
}

/// A request of roff, or a setting.
fn is_setting(path: &str, line: &str) -> bool {
    path.starts_with("xtask/man/ja/")
        && (line.starts_with('.') || line.starts_with("    ") || !line.starts_with('#') && line.contains(" = "))
}

fn files(folder: &str, ending: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(workspace().join(folder)).with_context(|| folder.to_owned())?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(ending))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    names.sort();
    Ok(names)
}

struct Rules {
    /// The katakana words of the glossary and of the page.
    words: BTreeSet<String>,
    /// What is not used, and what is used in its place.
    not: Vec<(String, String)>,
}

impl Rules {
    fn read(page: &str, glossary: &str) -> Result<Rules> {
        let (_, list) = page.split_once("\n## Words\n").context("docs/developer/japanese.md: no heading Words")?;
        let (words, table) = list.split_once("These are not used").context("docs/developer/japanese.md: no table")?;
        let japanese = glossary.lines().filter_map(|line| line.split('|').nth(2));
        let words = japanese.chain([words]).flat_map(katakana).collect();
        let rows = table.lines().filter_map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            (cells.len() == 4 && cells[1] != "not" && !cells[1].starts_with('-'))
                .then(|| (cells[1], cells[2].to_owned()))
        });
        let not = rows.flat_map(|(not, but)| not.split('、').map(move |not| (not.to_owned(), but.clone()))).collect();
        Ok(Rules { words, not })
    }

    fn judge(&self, text: &str, fault: &mut impl FnMut(String)) {
        for word in katakana(text).into_iter().filter(|word| !self.is_known(word)) {
            fault(format!("{word} is neither in the glossary nor in {PAGE}"));
        }
        for (not, but) in &self.not {
            let long = but.starts_with("with");
            let at =
                text.match_indices(not.as_str()).find(|(at, _)| !long || !text[at + not.len()..].starts_with('ー'));
            if at.is_some() {
                fault(format!("{not} is not used, but {but}"));
            }
        }
        let letters: Vec<char> = text.chars().collect();
        for three in letters.windows(3) {
            let [before, between, after] = three else { continue };
            let sides = (is_japanese(*before), is_japanese(*after));
            if *between == ' '
                && (sides.0 && (sides.1 || after.is_ascii_alphanumeric()) || sides.1 && before.is_ascii_alphanumeric())
            {
                fault(format!("a space between {before} and {after}"));
            }
        }
        for two in letters.windows(2) {
            if is_japanese(two[0]) && matches!(two[1], ',' | '.' | '!' | '?' | '(' | ')' | ';') {
                fault(format!("half-width {} after {}", two[1], two[0]));
            }
        }
        if letters.iter().any(|c| matches!(c, '\u{ff61}'..='\u{ff9f}' | '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ'))
        {
            fault("half-width katakana, or a full-width letter or digit".to_owned());
        }
        let english = text.split(|c: char| !c.is_ascii_alphabetic() && c != ' ').find(|run| {
            run.split(' ').filter(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_lowercase())).count() >= 3
        });
        if let Some(english) = english.filter(|run| !run.contains("from the backend")) {
            fault(format!("English: {}", english.trim()));
        }
    }

    /// Whether the word is made of known words.
    fn is_known(&self, word: &str) -> bool {
        word.is_empty()
            || self.words.iter().any(|known| word.strip_prefix(known.as_str()).is_some_and(|rest| self.is_known(rest)))
    }
}

/// The runs of katakana in a text. Single letters (ヶ月, ー) are no words.
fn katakana(text: &str) -> Vec<String> {
    let runs = text.split(|c: char| !matches!(c, 'ァ'..='ヺ' | 'ー'));
    runs.filter(|run| run.chars().count() > 1).map(str::to_owned).collect()
}

fn is_japanese(c: char) -> bool {
    matches!(c, 'ぁ'..='ヺ' | 'ー' | '一'..='鿿' | '々')
}

/// The string literals of Rust code, with their lines, without comments.
fn strings(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut chars = code.chars().peekable();
    let mut line = 1;
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            '/' if chars.peek() == Some(&'/') => {
                chars.by_ref().find(|c| *c == '\n');
                line += 1;
            }
            '"' => {
                let (mut text, start) = (String::new(), line);
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    match (c, chars.peek()) {
                        ('\\', Some('\n')) => {
                            while chars
                                .next_if(|c| c.is_whitespace())
                                .inspect(|c| line += usize::from(*c == '\n'))
                                .is_some()
                            {}
                        }
                        ('\\', Some('n')) => {
                            chars.next();
                            text.push('\n');
                        }
                        ('\\', _) => text.extend(chars.next()),
                        _ => text.push(c),
                    }
                }
                found.push((start, text));
            }
            _ => {}
        }
    }
    found
}

/// The text without code spans and the addresses of links.
fn without_code(line: &str) -> String {
    let mut text: String = line.split('`').step_by(2).collect::<Vec<_>>().join("X");
    while let Some(at) = text.find("](") {
        let end = text[at..].find(')').map_or(text.len(), |length| at + length + 1);
        text.replace_range(at..end, "");
    }
    text
}

/// The text without commands in brackets, whose words are English.
fn without_quoted(text: &str) -> String {
    let mut parts = text.split('「');
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (quoted, rest) = part.split_once('」').unwrap_or((part, ""));
        result += if quoted.is_ascii() { "X" } else { quoted };
        result += rest;
    }
    result
}

const PAGE: &str = "docs/developer/japanese.md";
const GLOSSARY: &str = "docs/developer/glossary.md";

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Vec<String> {
        let page = "\n## Words\nサーバー ファイル\nThese are not used:\n| not | but |\n|---|---|\n| サーバ、ユーザ | with ー at the end |\n| 返却 | 解放 |\n";
        let rules = Rules::read(page, "| seat | シート | x |\n").expect("the rules");
        let mut faults = Vec::new();
        rules.judge(text, &mut |fault| faults.push(fault));
        faults
    }

    /// Promise: japanese-checked
    #[test]
    fn what_the_page_forbids_is_found() {
        for good in [
            "シートをサーバーファイルに解放します",
            "登録ID: X",
            "els-register 0.1.0",
            "値は<from the backend>です",
            "32桁です。",
        ] {
            assert_eq!(judged(good), [""; 0], "{good}");
        }
        for (bad, fault) in [
            ("サーバです", "サーバ is"),
            ("シートの返却", "返却 is not used"),
            ("フォルダーです", "フォルダー is neither"),
            ("登録 ID", "a space between"),
            ("ID を確認", "a space between"),
            ("登録 です", "a space between"),
            ("登録です.", "half-width ."),
            ("登録(ID)", "half-width ("),
            ("登録です１", "full-width"),
            ("cannot open the file", "English"),
        ] {
            assert!(judged(bad).iter().any(|found| found.contains(fault)), "{bad}: {:?}", judged(bad));
        }
    }

    #[test]
    fn strings_are_read_as_the_compiler_reads_them() {
        let code = "// \"no\"\nf(\"a\\\"b\\n\\\n    c\");\ng(\"d\");";
        assert_eq!(strings(code), [(2, "a\"b\nc".to_owned()), (4, "d".to_owned())]);
        assert_eq!(without_code("`a b`を[登録](x.md)"), "Xを[登録");
        assert_eq!(without_quoted("「els-register --key KEY」で「登録」"), "Xで登録");
    }
}
