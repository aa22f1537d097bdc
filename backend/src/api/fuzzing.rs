//! A fuzz target: the conditions and ranges of file requests.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::repo::{Validators, Wanted, judge};

/// One header a line. A part that is sent lies within the file and is none of it only where the file is empty.
pub(crate) fn range(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(8) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        // A dependency asserts, in the debug builds that fuzzers are, that no entity tag has a space in it.
        if line.contains(&b'"') && line[colon + 1..].trim_ascii().iter().any(u8::is_ascii_whitespace) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    for length in [0, 1, 100, u64::MAX] {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let validators = Validators { tag: "\"x\"".parse().expect("a tag"), modified };
        if let Wanted::Part(part) = judge(&headers, &validators, length) {
            assert!(part.start < part.end && part.end <= length, "{part:?} of {length}");
        }
    }
}
