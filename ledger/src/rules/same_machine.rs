//! Who is the same machine.
//!
//! Owns the three steps of matching and their order. Knows nothing of seats or of what becomes of the old registration.

use els_protocol::{MachineId, RegistrationId};

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
}

/// Which ids of the machine that registers are distrusted by its key. An id that is distrusted on one side is distrusted on
/// both, since only equal ids are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Distrust {
    /// The machine id.
    pub machine: bool,
    /// The hardware id.
    pub hardware: bool,
}

/// The one candidate that is the same machine, and the match rule. There is one only if exactly one candidate fits the
/// first step that any candidate fits: where two fit, nothing tells which of them registers.
///
/// More than two candidates that fit one step change nothing; a store need not read them.
pub(super) fn same_machine(
    command: &RegisterCommand,
    candidates: &[Candidate],
    distrust: Distrust,
) -> Option<(RegistrationId, MatchRule)> {
    for rule in [certain, likely_by_machine, likely_by_hardware] {
        let mut fitting = candidates.iter().filter_map(|one| Some((one.id, rule(command, one, distrust)?)));
        match (fitting.next(), fitting.next()) {
            (None, _) => {}
            (one, None) => return one,
            (Some(_), Some(_)) => return None,
        }
    }
    None
}

/// Step 1: machine ids and hardware ids equal; or machine ids equal and `moved`.
fn certain(command: &RegisterCommand, one: &Candidate, distrust: Distrust) -> Option<MatchRule> {
    if !same_machine_id(command, one, distrust) {
        return None;
    }
    match hardware_of(command, distrust) {
        asked @ Some(_) if asked == one.hardware => Some(MatchRule::SameMachineAndHardware),
        _ => command.moved.then_some(MatchRule::SameMachineMoved),
    }
}

/// Step 2: machine ids equal, the hardware id absent on one side or both.
fn likely_by_machine(command: &RegisterCommand, one: &Candidate, distrust: Distrust) -> Option<MatchRule> {
    let absent = hardware_of(command, distrust).is_none() || one.hardware.is_none();
    (same_machine_id(command, one, distrust) && absent).then_some(MatchRule::SameMachineOnly)
}

/// Step 3: hardware ids equal, machine ids not. A distrusted machine id counts as absent, and an absent id equals none.
fn likely_by_hardware(command: &RegisterCommand, one: &Candidate, distrust: Distrust) -> Option<MatchRule> {
    let asked = hardware_of(command, distrust);
    let same = asked.is_some() && asked == one.hardware;
    (same && !same_machine_id(command, one, distrust)).then_some(MatchRule::SameHardwareOnly)
}

fn same_machine_id(command: &RegisterCommand, one: &Candidate, distrust: Distrust) -> bool {
    !distrust.machine && command.machine == one.machine
}

fn hardware_of(command: &RegisterCommand, distrust: Distrust) -> Option<MachineId> {
    command.hardware.filter(|_| !distrust.hardware)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{command, machine, registration};
    use super::*;

    const NONE: Distrust = Distrust { machine: false, hardware: false };
    const MACHINE: Distrust = Distrust { machine: true, hardware: false };
    const HARDWARE: Distrust = Distrust { machine: false, hardware: true };
    const BOTH: Distrust = Distrust { machine: true, hardware: true };

    /// (machine, hardware) of the candidates; 0 is an absent hardware id.
    fn find(asks: (u8, u8, bool), others: &[(u8, u8)], distrust: Distrust) -> Option<(u8, MatchRule)> {
        let hardware = |number: u8| (number != 0).then(|| machine(number));
        let mut command = command(1);
        (command.machine, command.hardware, command.moved) = (machine(asks.0), hardware(asks.1), asks.2);
        let candidates: Vec<Candidate> = others
            .iter()
            .zip(100..)
            .map(|(other, at)| Candidate {
                id: registration(at),
                machine: machine(other.0),
                hardware: hardware(other.1),
            })
            .collect();
        let (id, rule) = same_machine(&command, &candidates, distrust)?;
        Some((id.as_bytes()[0] - 100, rule))
    }

    /// Promise: seat-match-rules
    #[test]
    fn the_three_rules_and_their_order() {
        use MatchRule::*;
        type Row<'a> = (&'a str, (u8, u8, bool), &'a [(u8, u8)], Distrust, Option<(u8, MatchRule)>);
        let rows: &[Row] = &[
            ("nobody", (1, 9, false), &[], NONE, None),
            ("a stranger", (1, 9, false), &[(2, 8)], NONE, None),
            ("both equal: certain", (1, 9, false), &[(1, 9)], NONE, Some((0, SameMachineAndHardware))),
            ("both equal, and moved", (1, 9, true), &[(1, 9)], NONE, Some((0, SameMachineAndHardware))),
            ("moved to other hardware", (1, 8, true), &[(1, 9)], NONE, Some((0, SameMachineMoved))),
            ("moved from no hardware", (1, 8, true), &[(1, 0)], NONE, Some((0, SameMachineMoved))),
            ("moved, and not even the machine is equal", (2, 8, true), &[(1, 9)], NONE, None),
            ("no hardware here", (1, 0, false), &[(1, 9)], NONE, Some((0, SameMachineOnly))),
            ("no hardware there", (1, 9, false), &[(1, 0)], NONE, Some((0, SameMachineOnly))),
            ("no hardware on either side", (1, 0, false), &[(1, 0)], NONE, Some((0, SameMachineOnly))),
            ("reinstalled", (2, 9, false), &[(1, 9)], NONE, Some((0, SameHardwareOnly))),
            ("reinstalled, and moved says nothing of it", (2, 9, true), &[(1, 9)], NONE, Some((0, SameHardwareOnly))),
            ("a clone on other hardware", (1, 8, false), &[(1, 9)], NONE, None),
            ("no hardware on either side is not equal hardware", (2, 0, false), &[(1, 0)], NONE, None),
            (
                "certain comes before likely",
                (1, 9, false),
                &[(1, 0), (2, 9), (1, 9)],
                NONE,
                Some((2, SameMachineAndHardware)),
            ),
            ("by machine comes before by hardware", (1, 9, false), &[(2, 9), (1, 0)], NONE, Some((1, SameMachineOnly))),
            ("two of a rule: neither", (1, 0, false), &[(1, 9), (1, 8)], NONE, None),
            ("two of a rule, and the next is not tried", (1, 9, false), &[(1, 0), (1, 0), (2, 9)], NONE, None),
            ("moved with two of the machine id", (1, 7, true), &[(1, 9), (1, 8)], NONE, None),
            ("moved back, with another of the machine id", (1, 9, true), &[(1, 9), (1, 8)], NONE, None),
            ("two on one hardware", (3, 9, false), &[(1, 9), (2, 9)], NONE, None),
            ("machine id distrusted", (1, 0, false), &[(1, 0)], MACHINE, None),
            ("machine id distrusted, moved", (1, 8, true), &[(1, 9)], MACHINE, None),
            ("machine id distrusted, hardware equal", (1, 9, false), &[(1, 9)], MACHINE, Some((0, SameHardwareOnly))),
            ("machine id distrusted, other hardware", (1, 8, false), &[(1, 9)], MACHINE, None),
            ("hardware id distrusted", (2, 9, false), &[(1, 9)], HARDWARE, None),
            ("hardware id distrusted, machine equal", (1, 9, false), &[(1, 9)], HARDWARE, Some((0, SameMachineOnly))),
            ("hardware id distrusted, moved", (1, 9, true), &[(1, 9)], HARDWARE, Some((0, SameMachineMoved))),
            ("both distrusted", (1, 9, true), &[(1, 9)], BOTH, None),
        ];
        for (name, asks, others, distrust, expected) in rows {
            assert_eq!(find(*asks, others, *distrust), *expected, "{name}");
        }
    }
}
