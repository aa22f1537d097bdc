//! dnf.conf and repo files, read as libdnf reads them (`ConfigParser`): any bytes, the same sections and values, and an error
//! where libdnf has one, since dnf then uses nothing of the file.
//!
//! The fuzz target `host-libdnf` compares the two. This module must not know what a key means, except `enabled`.

/// A section: its id and its keys, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The text in brackets.
    pub id: String,
    entries: Vec<(String, String)>,
}

/// Why libdnf refuses a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub kind: FaultKind,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are libdnf's")]
pub enum FaultKind {
    MissingSectionHeader,
    MissingBracket,
    EmptySectionName,
    TextAfterSection,
    IllegalContinuationLine,
    MissingKey,
    MissingEqual,
}

/// Reads all sections of a file. Sections of the same id are one, and the last value of a key counts. Bytes that are not UTF-8
/// become U+FFFD.
pub fn sections(content: impl AsRef<[u8]>) -> Result<Vec<Section>, Fault> {
    let mut reader = Reader::default();
    let content = content.as_ref();
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        reader.line(line).map_err(|kind| Fault { line: index + 1, kind })?;
    }
    reader.end_value();
    Ok(reader.sections)
}

#[derive(Default)]
struct Reader {
    sections: Vec<Section>,
    /// Where the values go.
    current: Option<usize>,
    /// The value that the next line may continue.
    open: Option<(Vec<u8>, Vec<u8>)>,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), FaultKind> {
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b";") {
            self.end_value();
            return Ok(());
        }
        let text = trim(line);
        if text.is_empty() {
            // White space alone continues a value with an empty line.
            if let Some((_, value)) = &mut self.open {
                value.push(b'\n');
            }
            return Ok(());
        }
        let indented = line[0] != text[0];
        if text[0] == b'[' {
            self.end_value();
            return self.section(&text[1..]);
        }
        if self.current.is_none() {
            return Err(FaultKind::MissingSectionHeader);
        }
        if indented {
            let (_, value) = self.open.as_mut().ok_or(FaultKind::IllegalContinuationLine)?;
            value.push(b'\n');
            value.extend_from_slice(text);
            return Ok(());
        }
        self.end_value();
        if text[0] == b'=' {
            return Err(FaultKind::MissingKey);
        }
        let at = text.iter().position(|byte| *byte == b'=').ok_or(FaultKind::MissingEqual)?;
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let key = &text[..at];
        let key = &key[..key.iter().rposition(|byte| !blank(byte)).map_or(0, |last| last + 1)];
        let start = at + 1 + line[at + 1..].iter().take_while(|byte| blank(byte)).count();
        // libdnf cuts the line at `text.len()`, and not at all if that is before the value (blanks, then carriage returns).
        let value = line.get(start..text.len()).unwrap_or(&line[start..]);
        self.open = Some((key.to_vec(), value.to_vec()));
        Ok(())
    }

    /// What follows the opening bracket.
    fn section(&mut self, rest: &[u8]) -> Result<(), FaultKind> {
        let end = rest.iter().position(|byte| *byte == b']').ok_or(FaultKind::MissingBracket)?;
        if end == 0 {
            return Err(FaultKind::EmptySectionName);
        }
        let after = &rest[end + 1..];
        // libdnf does not look at the last character.
        let after = &after[..after.len().saturating_sub(1)];
        let comment = after.iter().position(|byte| matches!(byte, b'#' | b';')).unwrap_or(after.len());
        if !trim(&after[..comment]).is_empty() {
            return Err(FaultKind::TextAfterSection);
        }
        let id = String::from_utf8_lossy(&rest[..end]).into_owned();
        let known = self.sections.iter().position(|section| section.id == id);
        self.current = Some(known.unwrap_or_else(|| {
            self.sections.push(Section { id, entries: Vec::new() });
            self.sections.len() - 1
        }));
        Ok(())
    }

    fn end_value(&mut self) {
        let (Some((key, value)), Some(current)) = (self.open.take(), self.current) else { return };
        let end = value.iter().rposition(|byte| *byte != b'\n').map_or(value.len(), |last| last + 1);
        let unquoted = match &value[..end] {
            [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
            all => all,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.sections[current].entries.push((text(&key), text(unquoted)));
    }
}

fn trim(line: &[u8]) -> &[u8] {
    let dark = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r');
    let Some(start) = line.iter().position(dark) else { return &[] };
    let end = line.iter().rposition(dark).unwrap_or(start);
    &line[start..=end]
}

impl Section {
    /// The value of a key; the last one counts.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All keys with the values that count.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, _)| (key.as_str(), self.get(key).unwrap_or_default()))
    }

    /// Whether the repository is used. A section that does not say is, and so is one with a word that dnf does not know.
    pub fn enabled(&self) -> bool {
        self.get("enabled").and_then(boolean) != Some(false)
    }
}

/// A value that is yes or no; `None` for other words, which dnf ignores.
pub fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: dnf-conf-read
    #[test]
    fn sections_keys_comments_quotes_and_continued_values_are_read() {
        let text = "# c\n[main]\nproxy = http://p:1 \n;y=1\nbaseurl='a\n  b'\n[els]\nenabled=0\nenabled = True\n[main]\nz=1 # 2\n";
        let found = sections(text).unwrap();
        assert_eq!(found.iter().map(|section| section.id.as_str()).collect::<Vec<_>>(), ["main", "els"]);
        assert_eq!(found[0].get("proxy"), Some("http://p:1"));
        assert_eq!(found[0].get("baseurl"), Some("a\nb"));
        assert_eq!(found[0].get("z"), Some("1 # 2"));
        assert_eq!(found[0].get("y"), None);
        assert!(found[0].enabled() && found[1].enabled());
        assert!(!sections("[a]\nenabled=Off").unwrap()[0].enabled());
        assert_eq!(sections(b"[a]\n# caf\xe9\nx=caf\xe9\n").unwrap()[0].get("x"), Some("caf\u{fffd}"));
    }

    /// Promise: dnf-conf-read
    #[test]
    fn a_line_that_libdnf_refuses_is_named() {
        for (text, line, kind) in [
            ("x=1\n[main]\n", 1, FaultKind::MissingSectionHeader),
            ("[main]\n[main\n", 2, FaultKind::MissingBracket),
            ("[]\n", 1, FaultKind::EmptySectionName),
            ("[main] xy\n", 1, FaultKind::TextAfterSection),
            ("[main]\nx=1\n\n y\n", 4, FaultKind::IllegalContinuationLine),
            ("[main]\n=1\n", 2, FaultKind::MissingKey),
            ("[main]\nnonsense\n", 2, FaultKind::MissingEqual),
        ] {
            assert_eq!(sections(text), Err(Fault { line, kind }), "{text}");
        }
    }
}
