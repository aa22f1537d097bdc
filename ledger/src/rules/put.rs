//! What becomes of a PUT: refused, confirmed, moved, or a seat taken.
//!
//! Owns the order of the contract's questions: the key's state, what it covers, what is known of the id, the same
//! machine, a free seat. Knows no database; a store gathers [`PutFacts`] and carries [`Put`] out.

use els_protocol::wire::Seats;
use els_protocol::{Code, MachineId, RegistrationId, Sha256Hex, Timestamp};

use super::same::{Candidate, Distrust, same_machine};
use super::{Judged, Likeness, Refusal, RegisterCommand, Terms};

/// What a store knows of the id that a machine chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownId {
    /// Nobody has seen it.
    New,
    /// Nobody has seen it but a DELETE with this very token, in the last day.
    GivenBackEarly,
    /// It holds a seat.
    Active {
        /// Whether it is a seat of the key that asks.
        same_key: bool,
        /// SHA-256 of its token.
        token_hash: Sha256Hex,
        /// Its machine id.
        machine: MachineId,
    },
    /// Superseded or released.
    Ended,
}

/// The facts that a PUT is judged by, all of one moment.
#[derive(Debug)]
pub struct PutFacts<'a> {
    /// The key's terms.
    pub terms: Terms,
    /// Whether the key's product covers the machine's system.
    pub covered: bool,
    /// The key's seats.
    pub seats: Seats,
    /// What is known of the id.
    pub known: KnownId,
    /// The active registrations of the key that share an id with the machine. Looked at only when the id is new.
    pub candidates: &'a [Candidate],
    /// Which of the machine's ids the key distrusts.
    pub distrust: Distrust,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Bring the registration's particulars up to date; no seat changes.
    Confirm,
    /// The seat of this registration goes to the new id.
    Move {
        /// Which registration.
        from: RegistrationId,
        /// Why it is the same machine, which says what becomes of the old id.
        likeness: Likeness,
    },
    /// One more seat is used.
    Take,
}

/// Judges a PUT. The caller has found the key; an unknown one has no facts.
pub fn judge_put(now: Timestamp, command: &RegisterCommand, facts: &PutFacts<'_>) -> Judged<Put> {
    if let Some(code) = facts.terms.refuses_registration(now) {
        return Err(code.into());
    }
    if !facts.covered {
        return Err(Code::SystemNotCovered.into());
    }
    match facts.known {
        KnownId::Active { same_key, token_hash, machine } => {
            let same = same_key && token_hash == command.token_hash && (machine == command.machine || command.moved);
            return if same { Ok(Put::Confirm) } else { Err(Code::RegistrationConflict.into()) };
        }
        KnownId::Ended | KnownId::GivenBackEarly => return Err(Code::RegistrationReleased.into()),
        KnownId::New => {}
    }
    if let Some((from, likeness)) = same_machine(command, facts.candidates, facts.distrust) {
        return Ok(Put::Move { from, likeness });
    }
    if !facts.terms.gives_seats(now) {
        return Err(Code::KeyExpired.into());
    }
    if facts.seats.used >= facts.seats.total {
        return Err(Refusal { code: Code::NoFreeSeat, seats: Some(facts.seats) });
    }
    Ok(Put::Take)
}

#[cfg(test)]
mod tests {
    use super::super::KeyState;
    use super::super::tests::{at, command, hash, machine, registration, terms};
    use super::*;

    const ROOM: Seats = Seats { total: 2, used: 1 };
    const FULL: Seats = Seats { total: 2, used: 2 };
    const OVERFULL: Seats = Seats { total: 1, used: 2 };

    fn facts<'a>() -> PutFacts<'a> {
        PutFacts {
            terms: terms(),
            covered: true,
            seats: ROOM,
            known: KnownId::New,
            candidates: &[],
            distrust: Distrust::default(),
        }
    }

    fn judge(now: i64, facts: &PutFacts<'_>) -> Judged<Put> {
        judge_put(at(now), &command(1), facts)
    }

    fn myself() -> Candidate {
        Candidate { id: registration(2), machine: machine(1), hardware: Some(machine(9)) }
    }

    #[test]
    fn a_new_machine_takes_a_free_seat_and_is_refused_when_there_is_none() {
        assert_eq!(judge(0, &facts()), Ok(Put::Take));
        for seats in [FULL, OVERFULL, Seats { total: 0, used: 0 }] {
            let refusal = judge(0, &PutFacts { seats, ..facts() }).unwrap_err();
            assert_eq!(refusal, Refusal { code: Code::NoFreeSeat, seats: Some(seats) });
        }
    }

    /// Promise: seat-key-first
    /// Promise: seat-gone
    /// Promise: key-starts
    #[test]
    fn the_keys_state_is_judged_first_whatever_else_is_true() {
        // terms() starts at -100, expires at 100, and has 50 seconds of grace.
        let active = KnownId::Active { same_key: true, token_hash: hash(1), machine: machine(1) };
        let suspended = Terms { state: KeyState::Suspended, ..terms() };
        let revoked = Terms { state: KeyState::Revoked, ..terms() };
        let rows = [
            ("not yet valid", terms(), -101, Some(Code::KeyNotYetValid)),
            ("its first second", terms(), -100, None),
            ("its last second", terms(), 99, None),
            ("in grace", terms(), 100, None),
            ("the last second of grace", terms(), 149, None),
            ("past grace", terms(), 150, Some(Code::KeyExpired)),
            ("suspended", suspended, 0, Some(Code::KeySuspended)),
            ("suspended and expired", suspended, 150, Some(Code::KeySuspended)),
            ("suspended before it starts", suspended, -101, Some(Code::KeySuspended)),
            ("revoked", revoked, 0, Some(Code::KeyRevoked)),
        ];
        for (name, terms, now, expected) in rows {
            for known in [active, KnownId::Ended, KnownId::GivenBackEarly, KnownId::New] {
                for covered in [true, false] {
                    let candidates = [myself()];
                    let facts = PutFacts { terms, covered, known, candidates: &candidates, ..facts() };
                    let got = judge(now, &facts).err().map(|refusal| refusal.code);
                    match expected {
                        Some(code) => assert_eq!(got, Some(code), "{name}"),
                        None if !covered => assert_eq!(got, Some(Code::SystemNotCovered), "{name}"),
                        None if matches!(known, KnownId::Ended | KnownId::GivenBackEarly) => {
                            assert_eq!(got, Some(Code::RegistrationReleased), "{name}");
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
    fn an_active_id_is_confirmed_for_its_own_key_token_and_machine_alone() {
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
            let facts =
                PutFacts { known: KnownId::Active { same_key, token_hash, machine }, seats: OVERFULL, ..facts() };
            let mut command = command(1);
            command.moved = moved;
            let got = judge_put(at(120), &command, &facts);
            assert_eq!(got, if fits { Ok(Put::Confirm) } else { Err(Code::RegistrationConflict.into()) }, "{name}");
        }
    }

    /// Promise: seat-same-machine
    #[test]
    fn the_same_machine_moves_also_when_the_key_is_full_and_in_grace() {
        let candidates = [myself()];
        for (seats, now) in [(ROOM, 0), (FULL, 0), (OVERFULL, 0), (FULL, 120)] {
            let got = judge(now, &PutFacts { seats, candidates: &candidates, ..facts() });
            assert_eq!(got, Ok(Put::Move { from: registration(2), likeness: Likeness::SameMachineAndHardware }));
        }
    }

    /// Promise: seat-expiry
    #[test]
    fn from_expiry_on_no_new_seat_is_given_also_in_grace() {
        assert_eq!(judge(99, &facts()), Ok(Put::Take));
        assert_eq!(judge(100, &facts()), Err(Code::KeyExpired.into()));
        assert_eq!(judge(100, &PutFacts { seats: FULL, ..facts() }), Err(Code::KeyExpired.into()));
    }
}
