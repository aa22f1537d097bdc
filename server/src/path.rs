//! Request targets: the only place where a path is split into segments.
//!
//! Owns the rule which targets are accepted, and the comparison with prefixes. It is pure: it knows no header, credential,
//! product or file. Web servers pass a target on as it is, and normalise it when they open the file. So a target that two
//! programs could read in two ways is refused here.

use std::fmt;

/// The longest request target that is accepted, in bytes, including the query.
pub const TARGET_LIMIT: usize = 4096;

/// The path of a raw request target that every web server reads in the same way: its characters are plain, each `%` begins
/// an escape of a harmless byte, and no segment is empty, `.` or `..`, before or after decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPath<'a> {
    /// The segments with their escapes, joined by `/`, without a slash at the start or end. Empty for the root.
    segments: &'a str,
    /// Whether the path ended in a slash.
    folder: bool,
}

impl<'a> RequestPath<'a> {
    /// Reads a raw request target; `None` if it is not accepted.
    pub fn parse(target: &'a [u8]) -> Option<Self> {
        if target.len() > TARGET_LIMIT {
            return None;
        }
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let path = std::str::from_utf8(path.strip_prefix(b"/")?).ok()?;
        if path.is_empty() {
            return Some(RequestPath { segments: "", folder: true });
        }
        let (segments, folder) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        segments.split('/').all(is_accepted).then_some(RequestPath { segments, folder })
    }

    /// The rest of the path below `base`; `None` if it is not below `base`.
    pub fn below(self, base: &Prefix) -> Option<Self> {
        let mut rest = self.segments;
        for expected in &base.segments {
            let (first, others) = rest.split_once('/').unwrap_or((rest, ""));
            if !decoded(first).eq(expected.bytes()) {
                return None;
            }
            rest = others;
        }
        Some(RequestPath { segments: rest, folder: self.folder })
    }

    /// Whether the path is `prefix` or is below it. Compares whole segments after decoding.
    pub fn is_under(self, prefix: &Prefix) -> bool {
        self.below(prefix).is_some()
    }

    /// Whether the path names a folder: it ends in a slash, or it is the root.
    pub fn is_folder(self) -> bool {
        self.folder || self.segments.is_empty()
    }

    /// The decoded segments: the names to open, from the top down.
    pub fn names(self) -> impl Iterator<Item = Vec<u8>> + use<'a> {
        self.segments.split('/').filter(|segment| !segment.is_empty()).map(|segment| decoded(segment).collect())
    }
}

/// A path of whole segments, such as `/almalinux/9`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prefix {
    segments: Vec<String>,
}

impl Prefix {
    /// Reads a prefix: it begins with a slash, does not end in one, and has only plain segments. `/` and the empty text are
    /// the root; every path is below the root.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return if text.is_empty() { Ok(Prefix::default()) } else { Err("does not begin with a slash".into()) };
        };
        if path.is_empty() {
            return Ok(Prefix::default());
        }
        for segment in path.split('/') {
            match segment {
                "" => return Err("has an empty segment or a slash at its end".into()),
                "." | ".." => return Err(format!("has the segment {segment}")),
                _ => {}
            }
            if let Some(bad) = segment.chars().find(|c| !(c.is_ascii_alphanumeric() || "._~+-".contains(*c))) {
                return Err(format!("has the character {bad:?}; letters, digits and ._~+- are allowed"));
            }
        }
        Ok(Prefix { segments: path.split('/').map(str::to_owned).collect() })
    }

    /// Whether this is the root: it has no segment.
    pub fn is_root(&self) -> bool {
        self.segments.is_empty()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

/// Whether a raw segment has only plain characters and harmless escapes, and is a name before and after decoding.
fn is_accepted(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => match escaped(bytes.get(at + 1..at + 3)) {
                // A later decoder would read a separator or another `%` again; a control byte can end a line.
                None | Some(0..=0x1f | 0x7f | b'/' | b'\\' | b'%') => return false,
                Some(_) => at += 3,
            },
            byte if byte.is_ascii_alphanumeric() || b"._~+^:@=,-".contains(&byte) => at += 1,
            _ => return false,
        }
    }
    // Only the first three decoded bytes matter, so that no long segment is decoded twice.
    let mut start = decoded(segment);
    !matches!((start.next(), start.next(), start.next()), (None | Some(b'.'), None, _) | (Some(b'.'), Some(b'.'), None))
}

/// The decoded bytes of a segment.
fn decoded(segment: &str) -> impl Iterator<Item = u8> + '_ {
    let bytes = segment.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        match escaped(bytes.get(at + 1..at + 3)).filter(|_| byte == b'%') {
            Some(byte) => {
                at += 3;
                Some(byte)
            }
            None => {
                at += 1;
                Some(byte)
            }
        }
    })
}

fn escaped(digits: Option<&[u8]>) -> Option<u8> {
    let nibble = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
    match digits? {
        [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzzing::resolved;

    fn names(target: &str) -> Option<String> {
        let path = RequestPath::parse(target.as_bytes())?;
        Some(path.names().map(|name| String::from_utf8_lossy(&name).into_owned()).collect::<Vec<_>>().join("|"))
    }

    /// Promise: gate-strict-paths
    #[test]
    fn ordinary_targets_are_split_into_names() {
        for (target, expected) in [
            ("/", ""),
            ("/?x=y", ""),
            ("/a", "a"),
            ("/a/", "a"),
            ("/a/b.rpm?C=N;O=D&x=/../%zz", "a|b.rpm"),
            ("/a/foo-1.0~rc1+git^2:3@4=5,6_7.rpm", "a|foo-1.0~rc1+git^2:3@4=5,6_7.rpm"),
            ("/a/libstdc%2B%2b.rpm", "a|libstdc++.rpm"),
            ("/a/caf%C3%A9", "a|café"),
            ("/a/...", "a|..."),
            ("/a/.hidden", "a|.hidden"),
            ("/a/b%20c", "a|b c"),
        ] {
            assert_eq!(names(target).as_deref(), Some(expected), "{target}");
        }
    }

    /// Promise: gate-strict-paths
    #[test]
    fn a_target_that_two_programs_could_read_in_two_ways_is_refused() {
        for target in [
            "",
            "a",
            "*",
            "?",
            "http://host/a",
            "//a",
            "/a//b",
            "/a//",
            "//",
            "/.",
            "/..",
            "/a/..",
            "/a/../b",
            "/a/./b",
            "/a/.",
            "/../a",
            "/%2e",
            "/%2e%2e/a",
            "/%2E.",
            "/.%2e/a",
            "/a/%2e%2e/b",
            "/a/..%2fb",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%5Cb",
            "/a%00",
            "/a%0d%0aX:y",
            "/a%0A",
            "/a%1f",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%+1",
            "/a%252e",
            "/a%25",
            "/a b",
            "/a\tb",
            "/a\0b",
            "/a;b",
            "/a#b",
            "/a&b",
            "/a$b",
            "/a*b",
            "/a(b)",
            "/a'b",
            "/a\"b",
            "/a<b>",
            "/a|b",
            "/a[b]",
            "/a{b}",
            "/a`b",
            "/a!b",
            "/caf\u{e9}",
            "/a\u{7f}",
            "/a\r\nb",
        ] {
            assert_eq!(names(target), None, "{target:?}");
        }
        assert_eq!(RequestPath::parse(b"/a\xff"), None);
    }

    /// Promise: gate-one-header
    #[test]
    fn a_target_has_at_most_4096_bytes() {
        let mut target = vec![b'a'; TARGET_LIMIT];
        target[0] = b'/';
        assert!(RequestPath::parse(&target).is_some());
        target.push(b'a');
        assert!(RequestPath::parse(&target).is_none());
        target[10] = b'?';
        assert!(RequestPath::parse(&target).is_none(), "the query counts too");
    }

    /// Promise: gate-product-paths
    #[test]
    fn prefixes_are_compared_by_whole_decoded_segments() {
        let prefix = Prefix::parse("/almalinux/9").unwrap();
        for (target, under) in [
            ("/almalinux/9", true),
            ("/almalinux/9/", true),
            ("/almalinux/9/x", true),
            ("/almalinux/%39/x", true),
            ("/%61lmalinux/9?x", true),
            ("/almalinux", false),
            ("/almalinux/", false),
            ("/almalinux/90", false),
            ("/almalinux/9x", false),
            ("/almalinux/8", false),
            ("/x/almalinux/9", false),
            ("/", false),
        ] {
            let path = RequestPath::parse(target.as_bytes()).unwrap();
            assert_eq!(path.is_under(&prefix), under, "{target}");
            assert!(path.is_under(&Prefix::parse("/").unwrap()), "{target}");
        }
    }

    /// Promise: gate-repo-url
    #[test]
    fn the_rest_of_a_path_below_a_base_has_its_names() {
        let base = Prefix::parse("/repo").unwrap();
        let path = RequestPath::parse(b"/repo/a/b").unwrap().below(&base).unwrap();
        assert_eq!(path.names().collect::<Vec<_>>(), [b"a".to_vec(), b"b".to_vec()]);
        assert!(!path.is_folder());
        assert!(RequestPath::parse(b"/repo").unwrap().below(&base).unwrap().is_folder());
        assert!(RequestPath::parse(b"/repo/a/").unwrap().below(&base).unwrap().is_folder());
        assert_eq!(RequestPath::parse(b"/repox/a").unwrap().below(&base), None);
    }

    #[test]
    fn prefixes_that_are_not_plain_paths_are_refused() {
        assert!(Prefix::parse("").unwrap().is_root());
        assert_eq!(Prefix::parse("/els/repo-1").unwrap().to_string(), "/els/repo-1");
        for bad in ["a", "/a/", "//a", "/a//b", "/..", "/a/.", "/a%20", "/a b", "/ä", "/a?b"] {
            assert!(Prefix::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Promise: gate-strict-paths
        #[test]
        fn every_server_resolves_an_accepted_path_to_the_same_names(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "/", "/", "/", ".", "..", "a", "9", "almalinux", "%2e", "%2E", "%2f", "%5c", "\\", "%25", "%252e", "%",
                    "%0d%0a", "%00", "é", "%c3%a9", " ", "?", "#", ";", "~", "+",
                ]),
                0..12,
            )
        ) {
            let target = pieces.concat();
            if let Some(path) = RequestPath::parse(target.as_bytes()) {
                let raw = target.split('?').next().unwrap();
                let names: Vec<Vec<u8>> = path.names().collect();
                prop_assert_eq!(&resolved(raw.as_bytes(), 1), &names);
                prop_assert_eq!(&resolved(raw.as_bytes(), 2), &names);
                prop_assert!(names.iter().all(|name| !name.is_empty() && name != b"." && name != b".."));
                prop_assert!(names.iter().flatten().all(|byte| !byte.is_ascii_control() && !b"/\\%".contains(byte)));
            }
        }

        #[test]
        fn no_input_makes_it_panic(target in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(path) = RequestPath::parse(&target) {
                prop_assert!(path.names().count() <= target.len());
            }
        }
    }
}
