//! Points in time, as they stand on the wire.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time with a resolution of one second; on the wire RFC 3339 in UTC with `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String, format = DateTime))]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last second that can be written: 9999-12-31T23:59:59Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799);

    /// From seconds since 1970-01-01T00:00:00Z; brought into the years 1970 to 9999.
    pub fn from_unix(seconds: i64) -> Self {
        Timestamp(seconds.clamp(0, Self::MAX.0))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 in UTC with `Z`; fractions of a second are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        // humantime also takes the looser forms without `T` or `Z`; the wire does not.
        if !text.ends_with('Z') || text.as_bytes().get(10) != Some(&b'T') {
            return None;
        }
        humantime::parse_rfc3339(text).ok().map(Timestamp::from)
    }

    /// The time `seconds` later (or earlier, when negative).
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Timestamp::from_unix(self.0.saturating_add(seconds))
    }

    /// Whole seconds from `earlier` to this time; negative if it lies before.
    pub fn seconds_since(self, earlier: Timestamp) -> i64 {
        self.0 - earlier.0
    }

    /// `YYYY-MM-DD`, in UTC.
    pub fn date(self) -> String {
        let mut text = self.to_string();
        text.truncate(10);
        text
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Timestamp::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_secs(self.0.unsigned_abs());
        humantime::format_rfc3339_seconds(time).fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time in UTC with Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: wire-forms
    #[test]
    fn times_are_parsed_as_written_and_only_in_utc() {
        let time = Timestamp::parse("2027-03-31T23:59:59Z").unwrap();
        assert_eq!(time.to_string(), "2027-03-31T23:59:59Z");
        assert_eq!(time.date(), "2027-03-31");
        assert_eq!(Timestamp::parse("2027-03-31T23:59:59.75Z"), Some(time));
        for bad in ["2027-03-31", "2027-03-31T23:59:59", "2027-03-31 23:59:59Z", "2027-03-31T23:59:59+01:00", "", "Z"] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
        assert_eq!(Timestamp::from_unix(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
    }
}
