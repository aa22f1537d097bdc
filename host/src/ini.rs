//! The little of dnf's INI dialect that is read here: repo files and dnf.conf (dnf.conf(5)).

/// A section: its id and its keys, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The text in brackets.
    pub id: String,
    entries: Vec<(String, String)>,
}

/// Reads all sections of a file. Comments begin a line with `#` or `;`; a line that begins with white space goes on with
/// the value before it. What is no section and no assignment is passed over, as dnf does with a warning.
pub fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let trimmed = line.trim();
        if let Some(id) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            sections.push(Section { id: id.trim().to_owned(), entries: Vec::new() });
            continue;
        }
        let Some(section) = sections.last_mut() else { continue };
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = section.entries.last_mut() {
                value.push('\n');
                value.push_str(trimmed);
            }
        } else if let Some((key, value)) = trimmed.split_once('=') {
            section.entries.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    sections
}

impl Section {
    /// The value of a key; the last one counts.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether the repository is used; a section that does not say is.
    pub fn enabled(&self) -> bool {
        self.get("enabled")
            .is_none_or(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "yes" | "true" | "on"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_comments_and_continued_values_are_read() {
        let text = "# c\nx=0\n[main]\nproxy = http://p:1 \n;y=1\nbaseurl=a\n  b\n\nnonsense\n[els]\nenabled=0\nenabled = True\n";
        let found = sections(text);
        assert_eq!(found.iter().map(|section| section.id.as_str()).collect::<Vec<_>>(), ["main", "els"]);
        assert_eq!(found[0].get("proxy"), Some("http://p:1"));
        assert_eq!(found[0].get("baseurl"), Some("a\nb"));
        assert_eq!(found[0].get("y"), None);
        assert!(found[0].enabled() && found[1].enabled());
        assert!(!sections("[a]\nenabled=0")[0].enabled());
    }
}
