//! Dates as the vendor types them.
//!
//! Owns the form of every DATE: RFC 3339, or a day in a time zone. It must not know the clock. The zones are compiled in, so
//! that a machine without tzdata reads the same date.

use els_protocol::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Which second a DATE without a time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// The first of the day: `--starts`, `--since`.
    Beginning,
    /// The last of the day: `--expires`.
    End,
}

/// A time zone by its IANA name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("'{name}' is not a time zone; use an IANA name such as UTC or Asia/Tokyo"))
}

/// Reads RFC 3339 with any offset, or `YYYY-MM-DD` in `zone`.
pub(crate) fn parse(text: &str, zone: &TimeZone, edge: Edge) -> Result<Timestamp, String> {
    let unreadable =
        || format!("'{text}' is not a date; write YYYY-MM-DD, or a time such as 2027-03-31T23:59:59Z (RFC 3339)");
    let seconds = match text.len() {
        10 => {
            let day: Date = text.parse().map_err(|_| unreadable())?;
            match edge_of(day, zone, edge) {
                // "Never": the last days before the year 10000 end later than the library can count.
                Err(_) if edge == Edge::End && day.year() == 9999 => return Ok(Timestamp::MAX),
                time => time.map_err(|_| unreadable())?,
            }
        }
        _ if text == "9999-12-31T23:59:59Z" => return Ok(Timestamp::MAX),
        // An offset is required: without it, a time means something else in each zone.
        _ => text.parse::<jiff::Timestamp>().map_err(|_| unreadable())?,
    }
    .as_second();
    if !(0..=Timestamp::MAX.unix()).contains(&seconds) {
        return Err(format!("'{text}' is not between the years 1970 and 9999"));
    }
    Ok(Timestamp::from_unix(seconds))
}

/// A day has no fixed length, and does not begin at midnight where the clocks change at that time.
fn edge_of(day: Date, zone: &TimeZone, edge: Edge) -> Result<jiff::Timestamp, jiff::Error> {
    let start = |day: Date| zone.to_ambiguous_zoned(day.at(0, 0, 0, 0)).compatible()?.start_of_day();
    match edge {
        Edge::Beginning => Ok(start(day)?.timestamp()),
        Edge::End => start(day.tomorrow()?)?.timestamp().checked_sub(jiff::SignedDuration::from_secs(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, zone_name: &str, edge: Edge) -> Result<String, String> {
        parse(text, &zone(zone_name).unwrap(), edge).map(|time| time.to_string())
    }

    /// Promise: key-dates
    #[test]
    fn a_day_ends_and_begins_where_its_zone_says() {
        use Edge::*;
        let rows = [
            ("2027-03-31", "UTC", End, "2027-03-31T23:59:59Z"),
            ("2027-03-31", "UTC", Beginning, "2027-03-31T00:00:00Z"),
            ("2027-03-31", "Asia/Tokyo", End, "2027-03-31T14:59:59Z"),
            ("2027-03-31", "Asia/Tokyo", Beginning, "2027-03-30T15:00:00Z"),
            ("2027-03-31", "America/New_York", End, "2027-04-01T03:59:59Z"),
            // The day on which the clocks change has 23 hours.
            ("2027-03-28", "Europe/Berlin", Beginning, "2027-03-27T23:00:00Z"),
            ("2027-03-28", "Europe/Berlin", End, "2027-03-28T21:59:59Z"),
            // Midnight does not exist on this day.
            ("2018-11-04", "America/Sao_Paulo", Beginning, "2018-11-04T03:00:00Z"),
            ("9999-12-31", "UTC", End, "9999-12-31T23:59:59Z"),
            ("9999-12-31", "Asia/Tokyo", End, "9999-12-31T23:59:59Z"),
            ("9999-12-31", "America/New_York", End, "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59Z", "UTC", End, "9999-12-31T23:59:59Z"),
            ("2028-02-29", "UTC", End, "2028-02-29T23:59:59Z"),
        ];
        for (text, zone, edge, expected) in rows {
            assert_eq!(read(text, zone, edge).as_deref(), Ok(expected), "{text} {zone} {edge:?}");
        }
    }

    /// Promise: key-dates
    #[test]
    fn a_time_survives_being_shown_in_every_zone() {
        for edge in [Edge::Beginning, Edge::End] {
            assert_eq!(read("2027-03-31T12:00:00+09:00", "UTC", edge).as_deref(), Ok("2027-03-31T03:00:00Z"));
            assert_eq!(read("2027-03-31T12:00:00Z", "Asia/Tokyo", edge).as_deref(), Ok("2027-03-31T12:00:00Z"));
            assert_eq!(read("2027-03-31 12:00:00.5Z", "UTC", edge).as_deref(), Ok("2027-03-31T12:00:00Z"));
        }
    }

    /// Promise: key-dates
    #[test]
    fn an_error_about_a_date_gives_an_example() {
        for bad in ["", "tomorrow", "2027-02-29", "31.03.2027", "2027-3-31", "2027-03-31T12:00:00", "2027-13-01"] {
            let message = read(bad, "UTC", Edge::End).unwrap_err();
            assert!(message.contains("YYYY-MM-DD"), "{bad}: {message}");
        }
        assert!(read("1969-12-31", "UTC", Edge::End).unwrap_err().contains("1970"));
        assert!(zone("Mars/Olympus").unwrap_err().contains("IANA"));
    }
}
