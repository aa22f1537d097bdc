//! The superseded credential: its hour, what a use of it after that decides, and when it ends by itself.
//!
//! Owns the clocks of a superseded registration and the decision between it and the registration that has its seat. Knows no
//! database. No newcomer ends a credential: only this decision, the owners of the seat and the clocks do.

use els_protocol::Timestamp;
use els_protocol::wire::Seats;

use super::{KeyTerms, MatchRule};

/// Seconds for which a superseded credential works without consequences.
pub const SUPERSEDED_SECONDS: i64 = 3600;
/// Seconds after which the holder of a seat keeps it against the registration that had it before.
pub const DISPUTE_SECONDS: i64 = 24 * 3600;
/// Seconds after which a superseded registration that was not used is released.
pub const UNUSED_SECONDS: i64 = 35 * 24 * 3600;
/// The largest number of superseded ids of one seat.
pub const SUPERSEDED_IDS: usize = 16;

/// The facts by which the use of a superseded credential is judged, all of one moment.
#[derive(Debug, Clone, Copy)]
pub struct UseFacts {
    /// The key's terms.
    pub terms: KeyTerms,
    /// The key's seats.
    pub seats: Seats,
    /// When the credential was superseded.
    pub since: Timestamp,
    /// When it registered.
    pub registered_at: Timestamp,
    /// When the registration that has its seat registered; `None` where the seat was released meanwhile.
    pub holder: Option<Timestamp>,
    /// How many registrations were superseded by the same ids, this one among them.
    pub sharing: usize,
    /// How many of them registered before this one.
    pub before: usize,
}

/// What a use decides: the ids are distrusted, and these registrations have seats from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UseDecision {
    /// So many of those that were superseded by the same ids, the oldest first, get seats of their own.
    pub seats: usize,
    /// What becomes of the credential that was used.
    pub used: Used,
}

/// What becomes of the superseded credential that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// It has one of the seats that were free.
    OwnSeat,
    /// It has its seat again; the holder is released.
    HoldersSeat,
    /// It is released; the holder, if there is one, keeps the seat.
    Released,
}

/// Judges the use of a superseded credential. `None`: it has its hour still, or its key denies it anyway.
pub fn judge_superseded_use(now: Timestamp, facts: &UseFacts) -> Option<UseDecision> {
    if facts.terms.denies_credential(now).is_some() || !is_overdue(now, facts.since) {
        return None;
    }
    // In grace too: they are known machines.
    let free = facts.seats.total.saturating_sub(facts.seats.used);
    let seats = facts.sharing.min(usize::try_from(free).unwrap_or(usize::MAX));
    let used = match facts.holder {
        _ if facts.before < seats => Used::OwnSeat,
        Some(holder) if now < facts.since.plus_seconds(DISPUTE_SECONDS) && facts.registered_at <= holder => {
            Used::HoldersSeat
        }
        _ => Used::Released,
    };
    Some(UseDecision { seats, used })
}

/// Whether the hour of a credential that was superseded at `since` is over, so that its next use is decided.
pub fn is_overdue(now: Timestamp, since: Timestamp) -> bool {
    now >= since.plus_seconds(SUPERSEDED_SECONDS)
}

/// By which ids a rule matches: (machine id, hardware id). They are distrusted once two machines that it matched are alive.
pub fn matched_by(rule: MatchRule) -> (bool, bool) {
    match rule {
        MatchRule::SameMachineAndHardware => (true, true),
        MatchRule::SameMachineOnly | MatchRule::SameMachineMoved => (true, false),
        MatchRule::SameHardwareOnly => (false, true),
    }
}

/// Whether a match by `rule` says nothing any more, since every id that it was made by is distrusted.
pub fn is_void(rule: MatchRule, machine_distrusted: bool, hardware_distrusted: bool) -> bool {
    let (machine, hardware) = matched_by(rule);
    (!machine || machine_distrusted) && (!hardware || hardware_distrusted)
}

/// A time that does not count, from the first moment until before the second.
pub type Pause = (Timestamp, Timestamp);

/// When a registration that was superseded at `since` is released if it is not used. `pauses` are the times in which the gate was
/// down or the key denied its machines; the future is taken to have none.
pub fn unused_until(now: Timestamp, since: Timestamp, pauses: &[Pause]) -> Timestamp {
    let mut pauses: Vec<(i64, i64)> = pauses
        .iter()
        .map(|(from, to)| (from.unix().max(since.unix()), to.unix().min(now.unix())))
        .filter(|(from, to)| from < to)
        .collect();
    pauses.sort_unstable();
    let mut until = since.unix() + UNUSED_SECONDS;
    let mut counted_to = i64::MIN;
    for (from, to) in pauses {
        let from = from.max(counted_to);
        // A pause after the end came too late to change it.
        if from >= until {
            break;
        }
        until += (to - from).max(0);
        counted_to = counted_to.max(to);
    }
    Timestamp::from_unix(until)
}

#[cfg(test)]
mod tests {
    use super::super::KeyState;
    use super::super::tests::{at, key_terms};
    use super::*;

    const DAY: i64 = 24 * 3600;

    /// Promise: seat-two-alive
    #[test]
    fn a_superseded_credential_has_its_hour_and_its_next_use_is_decided() {
        // Superseded at 0, registered at -10, with key_terms() that do not end for a while.
        let long = KeyTerms { expires: at(100 * DAY), ..key_terms() };
        let grace = KeyTerms { expires: at(3000), grace_seconds: 100 * DAY, ..key_terms() };
        let facts = |used, total| UseFacts {
            terms: long,
            seats: Seats { total, used },
            since: at(0),
            registered_at: at(-10),
            holder: Some(at(0)),
            sharing: 1,
            before: 0,
        };
        let full = facts(1, 1);
        let room = facts(1, 2);
        let given = |seats, used| Some(UseDecision { seats, used });
        let (own, holders, released) = (given(1, Used::OwnSeat), given(0, Used::HoldersSeat), given(0, Used::Released));
        let rows = [
            ("at once", 0, full, None),
            ("the last second of its hour", 3599, full, None),
            ("after its hour, a seat is free", 3600, room, own),
            ("after its hour, none is free, it registered first", 3600, full, holders),
            ("the last second of its day", DAY - 1, full, holders),
            ("after a day the holder keeps the seat", DAY, full, released),
            ("after a day a seat is free", DAY, room, own),
            ("the holder registered first", 3600, UseFacts { holder: Some(at(-11)), ..full }, released),
            ("both registered in the same second", 3600, UseFacts { holder: Some(at(-10)), ..full }, holders),
            ("seats were lowered", 3600, facts(3, 1), holders),
            ("in grace a free seat is given to known machines", 3600, UseFacts { terms: grace, ..room }, own),
            ("in grace and full", 3600, UseFacts { terms: grace, ..full }, holders),
            ("the holder is gone, a seat is free", 3600, UseFacts { holder: None, ..facts(0, 1) }, own),
            ("the holder is gone, none is free", 3600, UseFacts { holder: None, ..full }, released),
            (
                "three share ids, one seat is free, it is the second",
                3600,
                UseFacts { sharing: 3, before: 1, ..room },
                given(1, Used::HoldersSeat),
            ),
            (
                "three share ids, two seats are free, it is the second",
                3600,
                UseFacts { sharing: 3, before: 1, ..facts(1, 3) },
                given(2, Used::OwnSeat),
            ),
            (
                "three share ids, all get seats",
                3600,
                UseFacts { sharing: 3, before: 2, ..facts(1, 9) },
                given(3, Used::OwnSeat),
            ),
            ("past grace", 200 * DAY, room, None),
            ("suspended", 3600, UseFacts { terms: KeyTerms { state: KeyState::Suspended, ..long }, ..room }, None),
            ("revoked", 3600, UseFacts { terms: KeyTerms { state: KeyState::Revoked, ..long }, ..room }, None),
        ];
        for (name, now, facts, expected) in rows {
            assert_eq!(judge_superseded_use(at(now), &facts), expected, "{name}");
        }
    }

    #[test]
    fn a_match_ends_once_all_its_ids_are_distrusted() {
        use MatchRule::*;
        let rows = [
            (SameMachineAndHardware, [false, false, false, true]),
            (SameMachineOnly, [false, false, true, true]),
            (SameMachineMoved, [false, false, true, true]),
            (SameHardwareOnly, [false, true, false, true]),
        ];
        for (rule, expected) in rows {
            let cases = [(false, false), (false, true), (true, false), (true, true)];
            assert_eq!(cases.map(|(machine, hardware)| is_void(rule, machine, hardware)), expected, "{rule:?}");
        }
    }

    #[test]
    fn time_in_which_the_machine_could_not_use_its_credential_does_not_count() {
        let end = |now: i64, pauses: &[(i64, i64)]| {
            let pauses: Vec<Pause> = pauses.iter().map(|(from, to)| (at(from * DAY), at(to * DAY))).collect();
            (unused_until(at(now * DAY), at(0), &pauses).unix() - at(0).unix()) / DAY
        };
        assert_eq!(end(1, &[]), 35);
        assert_eq!(end(90, &[]), 35);
        assert_eq!(end(20, &[(10, 15)]), 40);
        assert_eq!(end(12, &[(10, 15)]), 37, "the pause goes on");
        assert_eq!(end(20, &[(-10, 5), (3, 6)]), 41, "before it was superseded, and two at once");
        assert_eq!(end(20, &[(3, 6), (1, 9)]), 43, "one within the other");
        assert_eq!(end(90, &[(10, 15), (38, 50)]), 52, "the second begins before the end that the first has moved");
        assert_eq!(end(90, &[(35, 50)]), 35, "it had ended");
    }
}
