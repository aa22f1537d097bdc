//! Which part of a file a request selects, by its conditions and its range (RFC 9110, sections 13 and 14).
//!
//! Pure: headers, validators and a length in, a selection out. It knows no file.

use std::ops::Range;
use std::time::SystemTime;

use headers::{ETag, HeaderMapExt, IfModifiedSince, IfNoneMatch, IfRange, LastModified};
use http::HeaderMap;
use http::header::RANGE;

/// What identifies one version of a file.
pub(crate) struct Validators {
    pub(crate) tag: ETag,
    pub(crate) modified: SystemTime,
}

/// What to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    NotModified,
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// Evaluates conditions first, then the range.
pub(crate) fn select(headers: &HeaderMap, validators: &Validators, length: u64) -> Selection {
    let not_modified = match headers.typed_get::<IfNoneMatch>() {
        Some(condition) => !condition.precondition_passes(&validators.tag),
        None => {
            headers.typed_get::<IfModifiedSince>().is_some_and(|condition| !condition.is_modified(validators.modified))
        }
    };
    if not_modified {
        return Selection::NotModified;
    }
    if let Some(condition) = headers.typed_get::<IfRange>()
        && condition.is_modified(Some(&validators.tag), Some(&LastModified::from(validators.modified)))
    {
        return Selection::Whole;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    match (ranges.next().map(|range| range.to_str()), ranges.next()) {
        (Some(Ok(range)), None) => part(range, length).unwrap_or(Selection::Whole),
        _ => Selection::Whole,
    }
}

/// One range of bytes. `None` for any other value of `Range`: another unit, several ranges, an invalid text. The RFC allows
/// the whole file as the response to these. (`headers::Range` calls a suffix longer than the file unsatisfiable, so it is not used.)
fn part(range: &str, length: u64) -> Option<Selection> {
    let (first, last) = range.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| match text {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse::<u64>().ok()),
        _ => None,
    };
    let part = match (number(first)?, number(last)?) {
        (None, None) => return None,
        (None, Some(suffix)) => length.saturating_sub(suffix)..length,
        (Some(first), None) => first..length,
        (Some(first), Some(last)) if first > last => return None,
        (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
    };
    Some(if part.is_empty() { Selection::Unsatisfiable } else { Selection::Part(part) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn selection(pairs: &[(&str, &str)]) -> Selection {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        select(&headers, &Validators { tag: "\"x\"".parse().unwrap(), modified }, 100)
    }

    /// Promise: gate-files
    #[test]
    fn conditions_and_ranges_select_what_rfc_9110_says() {
        // 1_800_000_000 is Fri, 15 Jan 2027 08:00:00 GMT.
        let (same, earlier) = ("Fri, 15 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 07:59:59 GMT");
        for (headers, expected) in [
            (&[][..], Selection::Whole),
            (&[("range", "bytes=0-")], Selection::Part(0..100)),
            (&[("range", "bytes=10-19")], Selection::Part(10..20)),
            (&[("range", "bytes=90-1000")], Selection::Part(90..100)),
            (&[("range", "bytes=-10")], Selection::Part(90..100)),
            (&[("range", "bytes=-1000")], Selection::Part(0..100)),
            (&[("range", "bytes=99-99")], Selection::Part(99..100)),
            (&[("range", "bytes=100-")], Selection::Unsatisfiable),
            (&[("range", "bytes=-0")], Selection::Unsatisfiable),
            (&[("range", "bytes=9-8")], Selection::Whole),
            (&[("range", "bytes=-")], Selection::Whole),
            (&[("range", "bytes=+1-2")], Selection::Whole),
            (&[("range", "bytes=1-2"), ("range", "bytes=3-4")], Selection::Whole),
            (&[("range", "bytes=0-1,5-6")], Selection::Whole),
            (&[("range", "bytes=200-300,5-6")], Selection::Whole),
            (&[("range", "lines=1-2")], Selection::Whole),
            (&[("range", "bytes=10-19"), ("if-range", "\"x\"")], Selection::Part(10..20)),
            (&[("range", "bytes=10-19"), ("if-range", "\"y\"")], Selection::Whole),
            (&[("range", "bytes=10-19"), ("if-range", same)], Selection::Part(10..20)),
            (&[("range", "bytes=10-19"), ("if-range", earlier)], Selection::Whole),
            (&[("if-none-match", "\"x\"")], Selection::NotModified),
            (&[("if-none-match", "\"y\"")], Selection::Whole),
            (&[("if-none-match", "\"a tag with spaces\"")], Selection::Whole),
            (&[("if-none-match", "\"y\""), ("if-modified-since", same)], Selection::Whole),
            (&[("if-modified-since", same)], Selection::NotModified),
            (&[("if-modified-since", earlier)], Selection::Whole),
            (&[("if-modified-since", "yesterday")], Selection::Whole),
        ] {
            assert_eq!(selection(headers), expected, "{headers:?}");
        }
    }
}
