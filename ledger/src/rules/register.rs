//! Registering: denied, confirmed, moved, or a seat taken.
//!
//! Owns the order of the questions: the key's state, what it covers, what is known of the id, the same machine, a free
//! seat. Knows no database: a store reads [`RegisterFacts`] and carries a [`Decision`] out.

use els_protocol::wire::Seats;
use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};

use super::same_machine::{Candidate, Distrust, Matched, same_machine};
use super::superseded::is_overdue;
use super::{Denied, KeyTerms, MatchRule, RegisterCommand};

/// What a store knows of the id that a machine chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownId {
    /// It was never seen.
    New,
    /// It was never seen but in an early release with this token, in the last day.
    ReleasedEarly,
    /// It holds a seat, or did until the seat moved.
    Held {
        /// When the seat moved, if it did.
        superseded: Option<Timestamp>,
        /// Whether it is a registration of the key that asks.
        same_key: bool,
        /// SHA-256 of its token.
        token_hash: Sha256Hex,
        /// Its machine id.
        machine: MachineId,
    },
    /// It was released.
    Released,
}

/// The facts by which a registration is judged, all of one moment.
#[derive(Debug)]
pub struct RegisterFacts<'a> {
    /// The key's terms.
    pub terms: KeyTerms,
    /// Whether the key's product covers the machine's system.
    pub covered: bool,
    /// The key's seats.
    pub seats: Seats,
    /// What is known of the id.
    pub known: KnownId,
    /// The active registrations of the key that share an id with the machine. They matter only when the id is new.
    pub candidates: &'a [Candidate],
    /// Which of the machine's ids the key distrusts.
    pub distrust: Distrust,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Bring the registration's particulars up to date; no seat changes.
    Confirm,
    /// Say that it is superseded; nothing changes within its hour.
    ConfirmSuperseded,
    /// It is superseded and its hour is over. This is a use, which has to be decided; then the command is judged again.
    DecideUseFirst,
    /// The seat of this registration goes to the new id; the registration is superseded.
    Move {
        /// Which registration.
        from: RegistrationId,
        /// By which rule it is the same machine.
        rule: MatchRule,
    },
    /// Take one more seat.
    Take,
}

/// Judges a registration. The caller has found the key; an unknown one has no facts.
pub fn judge_register(
    now: Timestamp,
    command: &RegisterCommand,
    facts: &RegisterFacts<'_>,
) -> Result<Decision, Denied> {
    if let Some(denied) = facts.terms.denies_registration(now) {
        return Err(denied);
    }
    if !facts.covered {
        return Err(Denied::SystemNotCovered);
    }
    match facts.known {
        KnownId::Held { superseded, same_key, token_hash, machine } => {
            let same = same_key && token_hash == command.token_hash && (machine == command.machine || command.moved);
            return match superseded {
                _ if !same => Err(Denied::RegistrationConflict),
                None => Ok(Decision::Confirm),
                Some(since) if is_overdue(now, since) => Ok(Decision::DecideUseFirst),
                Some(_) => Ok(Decision::ConfirmSuperseded),
            };
        }
        KnownId::Released | KnownId::ReleasedEarly => return Err(Denied::RegistrationReleased),
        KnownId::New => {}
    }
    let gives_seats = facts.terms.gives_seats(now);
    let has_seat = gives_seats && facts.seats.used < facts.seats.total;
    match same_machine(command, facts.candidates, facts.distrust) {
        Matched::One(from, rule) => Ok(Decision::Move { from, rule }),
        _ if has_seat => Ok(Decision::Take),
        Matched::Full(until) => Err(Denied::MovedTooOften { until }),
        Matched::Nobody if !gives_seats => Err(Denied::KeyExpired),
        Matched::Nobody => {
            let distrusted = facts.distrust.machine || facts.distrust.hardware;
            Err(Denied::KeyFull { seats: facts.seats, distrusted })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyState;
    use super::super::tests::{at, command, hash, key_terms, machine, registration};
    use super::*;

    const ROOM: Seats = Seats { total: 2, used: 1 };
    const FULL: Seats = Seats { total: 2, used: 2 };
    const OVERFULL: Seats = Seats { total: 1, used: 2 };

    fn facts<'a>() -> RegisterFacts<'a> {
        RegisterFacts {
            terms: key_terms(),
            covered: true,
            seats: ROOM,
            known: KnownId::New,
            candidates: &[],
            distrust: Distrust::default(),
        }
    }

    fn judge(now: i64, facts: &RegisterFacts<'_>) -> Result<Decision, Denied> {
        judge_register(at(now), &command(1), facts)
    }

    fn myself() -> Candidate {
        Candidate {
            id: registration(2),
            machine: machine(1),
            hardware: Some(machine(9)),
            hardware_distrusted: false,
            registered_at: at(-1),
            room_at: None,
        }
    }

    #[test]
    fn a_new_machine_takes_a_free_seat_and_is_refused_on_a_full_key() {
        assert_eq!(judge(0, &facts()), Ok(Decision::Take));
        for seats in [FULL, OVERFULL, Seats { total: 0, used: 0 }] {
            assert_eq!(
                judge(0, &RegisterFacts { seats, ..facts() }),
                Err(Denied::KeyFull { seats, distrusted: false })
            );
        }
    }

    /// Promise: seat-key-first
    /// Promise: seat-gone
    /// Promise: key-starts
    #[test]
    fn the_keys_state_is_judged_first_whatever_else_is_true() {
        // key_terms() start at -100, expire at 100, and have 50 seconds of grace.
        let active = KnownId::Held { superseded: None, same_key: true, token_hash: hash(1), machine: machine(1) };
        let suspended = KeyTerms { state: KeyState::Suspended, ..key_terms() };
        let revoked = KeyTerms { state: KeyState::Revoked, ..key_terms() };
        let rows = [
            ("not yet valid", key_terms(), -101, Some(Denied::KeyNotYetValid)),
            ("its first second", key_terms(), -100, None),
            ("its last second", key_terms(), 99, None),
            ("in grace", key_terms(), 100, None),
            ("the last second of grace", key_terms(), 149, None),
            ("past grace", key_terms(), 150, Some(Denied::KeyExpired)),
            ("suspended", suspended, 0, Some(Denied::KeySuspended)),
            ("suspended and expired", suspended, 150, Some(Denied::KeySuspended)),
            ("suspended before it starts", suspended, -101, Some(Denied::KeySuspended)),
            ("revoked", revoked, 0, Some(Denied::KeyRevoked)),
        ];
        for (name, terms, now, expected) in rows {
            for known in [active, KnownId::Released, KnownId::ReleasedEarly, KnownId::New] {
                for covered in [true, false] {
                    let candidates = [myself()];
                    let facts = RegisterFacts { terms, covered, known, candidates: &candidates, ..facts() };
                    let got = judge(now, &facts).err();
                    match expected {
                        Some(denied) => assert_eq!(got, Some(denied), "{name}"),
                        None if !covered => assert_eq!(got, Some(Denied::SystemNotCovered), "{name}"),
                        None if matches!(known, KnownId::Released | KnownId::ReleasedEarly) => {
                            assert_eq!(got, Some(Denied::RegistrationReleased), "{name}");
                        }
                        None => assert_eq!(got, None, "{name}"),
                    }
                }
            }
        }
    }

    /// Promise: seat-confirm
    /// Promise: seat-conflict
    #[test]
    fn an_active_id_is_confirmed_only_for_its_own_key_token_and_machine() {
        let own = (true, hash(1), machine(1));
        let rows = [
            ("its own", own, false, true),
            ("another key", (false, own.1, own.2), false, false),
            ("another token", (true, hash(2), own.2), false, false),
            ("another machine", (true, own.1, machine(2)), false, false),
            ("another machine that is said to be moved", (true, own.1, machine(2)), true, true),
            ("another key, moved", (false, own.1, machine(2)), true, false),
            ("another token, moved", (true, hash(2), machine(2)), true, false),
        ];
        for (name, (same_key, token_hash, machine), moved, fits) in rows {
            // Full, and in grace: a confirmation takes no seat.
            let facts = RegisterFacts {
                known: KnownId::Held { superseded: None, same_key, token_hash, machine },
                seats: OVERFULL,
                ..facts()
            };
            let mut command = command(1);
            command.moved = moved;
            let got = judge_register(at(120), &command, &facts);
            assert_eq!(got, if fits { Ok(Decision::Confirm) } else { Err(Denied::RegistrationConflict) }, "{name}");
        }
    }

    /// Promise: seat-confirm
    #[test]
    fn a_superseded_id_is_confirmed_within_its_hour_and_decided_after_it() {
        let known = |token| KnownId::Held {
            superseded: Some(at(-3600)),
            same_key: true,
            token_hash: hash(token),
            machine: machine(1),
        };
        let own = RegisterFacts { known: known(1), seats: FULL, ..facts() };
        assert_eq!(judge(-1, &own), Ok(Decision::ConfirmSuperseded));
        assert_eq!(judge(0, &own), Ok(Decision::DecideUseFirst));
        for now in [-1, 0] {
            let others = RegisterFacts { known: known(2), ..facts() };
            assert_eq!(judge(now, &others), Err(Denied::RegistrationConflict));
        }
    }

    #[test]
    fn a_machine_whose_seat_has_moved_too_often_takes_a_free_seat_or_waits() {
        let candidates = [Candidate { room_at: Some(at(700)), ..myself() }];
        let crowded = |seats| RegisterFacts { seats, candidates: &candidates, ..facts() };
        assert_eq!(judge(0, &crowded(ROOM)), Ok(Decision::Take));
        let waits = Err(Denied::MovedTooOften { until: at(700) });
        assert_eq!(judge(0, &crowded(FULL)), waits);
        assert_eq!(judge(120, &crowded(ROOM)), waits, "in grace");
    }

    #[test]
    fn a_full_key_says_whether_distrusted_ids_are_the_reason() {
        for (machine, hardware) in [(true, false), (false, true), (true, true)] {
            let facts = RegisterFacts { seats: FULL, distrust: Distrust { machine, hardware }, ..facts() };
            assert_eq!(judge(0, &facts), Err(Denied::KeyFull { seats: FULL, distrusted: true }));
        }
    }

    /// Promise: seat-same-machine
    #[test]
    fn the_same_machine_moves_also_when_the_key_is_full_and_in_grace() {
        let candidates = [myself()];
        for (seats, now) in [(ROOM, 0), (FULL, 0), (OVERFULL, 0), (FULL, 120)] {
            let got = judge(now, &RegisterFacts { seats, candidates: &candidates, ..facts() });
            assert_eq!(got, Ok(Decision::Move { from: registration(2), rule: MatchRule::SameMachineAndHardware }));
        }
    }

    /// Promise: seat-expiry
    #[test]
    fn from_expiry_on_no_new_seat_is_given_also_in_grace() {
        assert_eq!(judge(99, &facts()), Ok(Decision::Take));
        assert_eq!(judge(100, &facts()), Err(Denied::KeyExpired));
        assert_eq!(judge(100, &RegisterFacts { seats: FULL, ..facts() }), Err(Denied::KeyExpired));
    }
}
