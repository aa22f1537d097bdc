//! Checks whether a history is linearizable: whether there is an order of its requests, each between its sending and its answer,
//! that gives these answers.
//!
//! It owns the search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's record of what was tried,
//! which keeps it short for wrong histories too. Its tests contain wrong histories, which it must reject.

use std::collections::HashSet;

use super::linear_model::{Model, Op, Seen};

/// A request and its answer, with the times at which the one was sent and the other was there.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) op: Op,
    pub(crate) seen: Seen,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
}

/// Whether `history` is one of `start`'s.
pub(crate) fn is_linearizable(start: &Model, history: &[Call]) -> bool {
    assert!(history.len() <= 64, "one bit for each call");
    search(start, history, 0, &mut HashSet::new())
}

/// `done`: which calls have been carried out already, in some order that led to `state`.
fn search(state: &Model, history: &[Call], done: u64, tried: &mut HashSet<(u64, Model)>) -> bool {
    let open = || history.iter().enumerate().filter(|(at, _)| done & (1 << at) == 0);
    // What was sent after another's answer was there comes after that other.
    let Some(first_answer) = open().map(|(_, call)| call.answered).min() else { return true };
    if !tried.insert((done, state.clone())) {
        return false;
    }
    open().filter(|(_, call)| call.sent <= first_answer).any(|(at, call)| {
        let mut next = state.clone();
        next.step(call.op) == call.seen && search(&next, history, done | 1 << at, tried)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use els_protocol::Code;

    use super::*;

    fn call(op: Op, seen: Seen, sent: u64, answered: u64) -> Call {
        Call { op, seen, sent, answered }
    }

    fn put(id: u32, machine: u32) -> Op {
        Op::Put { id, machine, hardware: true }
    }

    fn right(seats: u64, history: &[Call]) -> bool {
        is_linearizable(&Model::new(seats), history)
    }

    #[test]
    fn overlapping_calls_may_be_in_either_order_and_others_only_in_theirs() {
        let taken = |sent, answered| call(put(1, 1), Seen::Registration(201, (1, 1)), sent, answered);
        let full = |sent, answered| call(put(2, 2), Seen::Full((1, 1)), sent, answered);
        assert!(right(1, &[taken(0, 10), full(5, 15)]));
        assert!(right(1, &[taken(5, 15), full(0, 10)]));
        assert!(right(1, &[taken(0, 10), full(11, 15)]));
        assert!(!right(1, &[taken(11, 15), full(0, 10)]), "refused before the seat was taken");
    }

    #[test]
    fn the_last_seat_is_given_once() {
        let history = [
            call(put(1, 1), Seen::Registration(201, (1, 1)), 0, 10),
            call(put(2, 2), Seen::Registration(201, (1, 1)), 0, 10),
        ];
        assert!(!right(1, &history));
        assert!(!right(2, &history), "both counted one");
    }

    #[test]
    fn an_answered_registration_is_not_forgotten() {
        let taken = call(put(1, 1), Seen::Registration(201, (2, 1)), 0, 1);
        let unknown = call(Op::Get { id: 1 }, Seen::Refused(Code::UnknownRegistration), 2, 3);
        assert!(!right(2, &[taken.clone(), unknown.clone()]), "a seat that was answered is lost");
        let too_late = Call { sent: 0, ..unknown };
        assert!(right(2, &[taken.clone(), too_late]), "asked at the same time");

        let gone = call(Op::Delete { id: 1 }, Seen::NoContent, 2, 3);
        let there = call(Op::Get { id: 1 }, Seen::Registration(200, (2, 1)), 4, 5);
        assert!(!right(2, &[taken.clone(), gone.clone(), there]), "a stale read");
        let listed = call(Op::List, Seen::Key((2, 1), BTreeSet::from([1])), 4, 5);
        assert!(!right(2, &[taken.clone(), gone.clone(), listed]), "a stale list");
        let leaked = call(put(2, 2), Seen::Registration(201, (2, 2)), 4, 5);
        assert!(!right(2, &[taken, gone, leaked]), "the seat was not released");
    }

    #[test]
    fn one_machine_has_one_seat_and_the_old_id_has_its_hour() {
        let first = call(put(1, 7), Seen::Registration(201, (2, 1)), 0, 1);
        for hardware in [true, false] {
            let moved = call(Op::Put { id: 2, machine: 7, hardware }, Seen::Registration(200, (2, 1)), 2, 3);
            for op in [Op::Get { id: 1 }, put(1, 7)] {
                let old = |seen| call(op, seen, 4, 5);
                assert!(right(2, &[first.clone(), moved.clone(), old(Seen::Registration(200, (2, 1)))]));
                assert!(!right(2, &[first.clone(), moved.clone(), old(Seen::Registration(201, (2, 2)))]), "two seats");
                assert!(!right(2, &[first.clone(), moved.clone(), old(Seen::Refused(Code::RegistrationReleased))]));
            }
            let listed = |ids| call(Op::List, Seen::Key((2, 1), BTreeSet::from(ids)), 4, 5);
            assert!(right(2, &[first.clone(), moved.clone(), listed([1, 2])]));
        }
        let twice = call(put(2, 7), Seen::Registration(201, (2, 2)), 2, 3);
        assert!(!right(2, &[first, twice]), "two seats");
    }

    #[test]
    fn a_suspended_key_gives_nothing() {
        let stop = call(Op::Suspend { suspended: true }, Seen::Key((2, 0), BTreeSet::new()), 0, 1);
        let given = |sent, answered| call(put(1, 1), Seen::Registration(201, (2, 1)), sent, answered);
        assert!(!right(2, &[stop.clone(), given(2, 3)]));
        assert!(!right(2, &[stop.clone(), given(0, 3)]), "the command has seen none in use, so that it came first");
        let smaller = call(Op::Resize { seats: 0 }, Seen::Key((0, 0), BTreeSet::new()), 0, 1);
        assert!(!right(2, &[smaller, given(2, 3)]), "more than there are");
    }
}
