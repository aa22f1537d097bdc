//! Who is the same machine.
//!
//! Owns the match rules and their order. Knows nothing of seats or of what becomes of the old registration.

use els_protocol::{MachineId, RegistrationId, Timestamp};

use super::{MatchRule, RegisterCommand};

/// An active registration of the same key that shares an id with the machine that registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The registration's id.
    pub id: RegistrationId,
    /// Its machine id.
    pub machine: MachineId,
    /// Its hardware id.
    pub hardware: Option<MachineId>,
    /// Whether the key distrusts its hardware id.
    pub hardware_distrusted: bool,
    /// When it registered.
    pub registered_at: Timestamp,
    /// When its seat can move again, where it has moved too often within the hour; `None` where it can now.
    pub room_at: Option<Timestamp>,
}

/// Which ids of the machine that registers are distrusted by its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Distrust {
    /// The machine id.
    pub machine: bool,
    /// The hardware id.
    pub hardware: bool,
}

/// What comparing has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matched {
    /// No registration is the same machine, or several could be.
    Nobody,
    /// This registration is, by this rule.
    One(RegistrationId, MatchRule),
    /// One is, but its seat has moved too often within the hour; when it can move again.
    Full(Timestamp),
}

/// The candidate that is the same machine. The first rule that fits any decides, if it fits exactly one; of several whose ids both
/// equal those of the machine (absent on both sides is equal), the one that registered last and has room.
///
/// A store need not read more than two candidates that fit one rule, but of those whose ids both are equal it has to read the one
/// that registered last and has room.
pub(super) fn same_machine(command: &RegisterCommand, candidates: &[Candidate], distrust: Distrust) -> Matched {
    for rule in RULES {
        let mut fitting: Vec<&Candidate> =
            candidates.iter().filter(|one| fits(rule, &compare(command, one, distrust), command.moved)).collect();
        if fitting.is_empty() {
            continue;
        }
        if fitting.len() > 1 {
            fitting.retain(|one| compare(command, one, distrust).is_equal());
        }
        let with_room = fitting.iter().filter(|one| one.room_at.is_none());
        return match with_room.max_by_key(|one| (one.registered_at, one.id)) {
            Some(one) => Matched::One(one.id, rule),
            None => fitting.iter().filter_map(|one| one.room_at).min().map_or(Matched::Nobody, Matched::Full),
        };
    }
    Matched::Nobody
}

/// How the ids of a candidate compare with those of the machine.
struct Compared {
    machines_equal: bool,
    /// The hardware id of the machine, and that of the candidate.
    hardware: (Option<MachineId>, Option<MachineId>),
}

impl Compared {
    /// Whether both ids are equal.
    fn is_equal(&self) -> bool {
        self.machines_equal && self.hardware.0 == self.hardware.1
    }
}

/// A distrusted machine id differs from every other; a distrusted hardware id is absent.
fn compare(command: &RegisterCommand, one: &Candidate, distrust: Distrust) -> Compared {
    Compared {
        machines_equal: !distrust.machine && command.machine == one.machine,
        hardware: (command.hardware.filter(|_| !distrust.hardware), one.hardware.filter(|_| !one.hardware_distrusted)),
    }
}

fn fits(rule: MatchRule, ids: &Compared, moved: bool) -> bool {
    let (asked, known) = ids.hardware;
    let (hardware_equal, hardware_absent) = (asked.is_some() && asked == known, asked.is_none() || known.is_none());
    match rule {
        MatchRule::SameMachineAndHardware => ids.machines_equal && hardware_equal,
        MatchRule::SameMachineOnly => ids.machines_equal && hardware_absent,
        MatchRule::SameMachineMoved => ids.machines_equal && !hardware_equal && !hardware_absent && moved,
        MatchRule::SameHardwareOnly => !ids.machines_equal && hardware_equal,
    }
}

/// In the order in which they are tried.
const RULES: [MatchRule; 4] = [
    MatchRule::SameMachineAndHardware,
    MatchRule::SameMachineOnly,
    MatchRule::SameMachineMoved,
    MatchRule::SameHardwareOnly,
];

#[cfg(test)]
mod tests {
    use super::super::tests::{at, command, machine, registration};
    use super::*;

    const NONE: Distrust = Distrust { machine: false, hardware: false };
    const MACHINE: Distrust = Distrust { machine: true, hardware: false };
    const HARDWARE: Distrust = Distrust { machine: false, hardware: true };
    const BOTH: Distrust = Distrust { machine: true, hardware: true };

    /// (machine, hardware) of the candidates, the latest last; 0 is an absent hardware id, 60 and above a distrusted one.
    fn find(asks: (u8, u8, bool), others: &[(u8, u8)], distrust: Distrust) -> Option<(u8, MatchRule)> {
        match matched(asks, others, distrust, &[]) {
            Matched::One(id, rule) => Some((id.as_bytes()[0] - 100, rule)),
            Matched::Nobody => None,
            Matched::Full(_) => panic!("every seat has room"),
        }
    }

    /// `full` are the places of those whose seats have moved too often.
    fn matched(asks: (u8, u8, bool), others: &[(u8, u8)], distrust: Distrust, full: &[usize]) -> Matched {
        let hardware = |number: u8| (number != 0).then(|| machine(number));
        let mut command = command(1);
        (command.machine, command.hardware, command.moved) = (machine(asks.0), hardware(asks.1), asks.2);
        let candidates: Vec<Candidate> = others
            .iter()
            .zip(100..)
            .enumerate()
            .map(|(place, (other, number))| Candidate {
                id: registration(number),
                machine: machine(other.0),
                hardware: hardware(other.1),
                hardware_distrusted: other.1 >= 60 || distrust.hardware && other.1 == asks.1,
                registered_at: at(i64::from(number)),
                room_at: full.contains(&place).then(|| at(9000 - i64::from(number))),
            })
            .collect();
        same_machine(&command, &candidates, distrust)
    }

    /// Promise: seat-match-rules
    #[test]
    fn the_four_rules_and_their_order() {
        use MatchRule::*;
        type Row<'a> = (&'a str, (u8, u8, bool), &'a [(u8, u8)], Distrust, Option<(u8, MatchRule)>);
        let rows: &[Row] = &[
            ("nobody", (1, 9, false), &[], NONE, None),
            ("a stranger", (1, 9, false), &[(2, 8)], NONE, None),
            ("both equal", (1, 9, false), &[(1, 9)], NONE, Some((0, SameMachineAndHardware))),
            ("both equal, and moved", (1, 9, true), &[(1, 9)], NONE, Some((0, SameMachineAndHardware))),
            ("moved to other hardware", (1, 8, true), &[(1, 9)], NONE, Some((0, SameMachineMoved))),
            ("moved from no hardware", (1, 8, true), &[(1, 0)], NONE, Some((0, SameMachineOnly))),
            ("moved, and not even the machine is equal", (2, 8, true), &[(1, 9)], NONE, None),
            ("no hardware here", (1, 0, false), &[(1, 9)], NONE, Some((0, SameMachineOnly))),
            ("no hardware there", (1, 9, false), &[(1, 0)], NONE, Some((0, SameMachineOnly))),
            ("no hardware on either side", (1, 0, false), &[(1, 0)], NONE, Some((0, SameMachineOnly))),
            ("reinstalled", (2, 9, false), &[(1, 9)], NONE, Some((0, SameHardwareOnly))),
            ("reinstalled, and moved says nothing of it", (2, 9, true), &[(1, 9)], NONE, Some((0, SameHardwareOnly))),
            ("a clone on other hardware", (1, 8, false), &[(1, 9)], NONE, None),
            ("no hardware on either side is not equal hardware", (2, 0, false), &[(1, 0)], NONE, None),
            (
                "both equal comes first",
                (1, 9, false),
                &[(1, 0), (2, 9), (1, 9)],
                NONE,
                Some((2, SameMachineAndHardware)),
            ),
            ("by machine comes before by hardware", (1, 9, false), &[(2, 9), (1, 0)], NONE, Some((1, SameMachineOnly))),
            ("no hardware there comes before moved", (1, 9, true), &[(1, 8), (1, 0)], NONE, Some((1, SameMachineOnly))),
            ("moved comes before by hardware", (1, 9, true), &[(2, 9), (1, 8)], NONE, Some((1, SameMachineMoved))),
            ("two of both: the last", (1, 9, false), &[(1, 9), (1, 9)], NONE, Some((1, SameMachineAndHardware))),
            ("two without hardware: the last", (1, 0, false), &[(1, 0), (1, 0)], NONE, Some((1, SameMachineOnly))),
            (
                "two of a rule, one of which is equal",
                (1, 0, false),
                &[(1, 0), (1, 9)],
                NONE,
                Some((0, SameMachineOnly)),
            ),
            ("two of a rule, neither of which is equal", (1, 0, false), &[(1, 9), (1, 8)], NONE, None),
            ("two of a rule, and the next is not tried", (1, 9, false), &[(1, 0), (1, 0), (2, 9)], NONE, None),
            ("moved with two of the machine id", (1, 7, true), &[(1, 9), (1, 8)], NONE, None),
            (
                "moved back, with another of the machine id",
                (1, 9, true),
                &[(1, 9), (1, 8)],
                NONE,
                Some((0, SameMachineAndHardware)),
            ),
            ("two on one hardware", (3, 9, false), &[(1, 9), (2, 9)], NONE, None),
            ("machine id distrusted", (1, 0, false), &[(1, 0)], MACHINE, None),
            ("machine id distrusted, moved", (1, 8, true), &[(1, 9)], MACHINE, None),
            ("machine id distrusted, hardware equal", (1, 9, false), &[(1, 9)], MACHINE, Some((0, SameHardwareOnly))),
            ("machine id distrusted, two of the hardware", (1, 9, false), &[(1, 9), (1, 9)], MACHINE, None),
            ("machine id distrusted, other hardware", (1, 8, false), &[(1, 9)], MACHINE, None),
            ("hardware id distrusted", (2, 9, false), &[(1, 9)], HARDWARE, None),
            ("hardware id distrusted, machine equal", (1, 9, false), &[(1, 9)], HARDWARE, Some((0, SameMachineOnly))),
            (
                "hardware id distrusted, two of it: the last",
                (1, 9, false),
                &[(1, 9), (1, 9)],
                HARDWARE,
                Some((1, SameMachineOnly)),
            ),
            ("hardware id distrusted, moved", (1, 9, true), &[(1, 9)], HARDWARE, Some((0, SameMachineOnly))),
            ("hardware id distrusted there alone", (1, 9, false), &[(1, 60)], NONE, Some((0, SameMachineOnly))),
            (
                "hardware id distrusted there, none here",
                (1, 0, false),
                &[(1, 60), (1, 9)],
                NONE,
                Some((0, SameMachineOnly)),
            ),
            ("both distrusted", (1, 9, true), &[(1, 9)], BOTH, None),
        ];
        for (name, asks, others, distrust, expected) in rows {
            assert_eq!(find(*asks, others, *distrust), *expected, "{name}");
        }
    }

    /// Promise: seat-match-rules
    #[test]
    fn a_seat_that_has_moved_too_often_is_not_moved_again() {
        use MatchRule::SameMachineAndHardware;
        let same = (1, 9, false);
        let (one, two) = ([(1, 9)], [(1, 9), (1, 9)]);
        let first = Matched::One(registration(100), SameMachineAndHardware);
        assert_eq!(matched(same, &one, NONE, &[0]), Matched::Full(at(8900)));
        assert_eq!(matched(same, &two, NONE, &[1]), first, "the last one that has room");
        assert_eq!(matched(same, &two, NONE, &[0, 1]), Matched::Full(at(8899)), "until the first has room");
        // The next rule is not tried: it is this machine, or two like it.
        assert_eq!(matched(same, &[(1, 9), (1, 0)], NONE, &[0]), Matched::Full(at(8900)));
        assert_eq!(matched((3, 9, false), &[(1, 9), (2, 9)], NONE, &[0, 1]), Matched::Nobody);
    }
}
