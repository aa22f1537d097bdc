//! The match rules and the use of a superseded credential, in every small case.
//!
//! The rules are few, and an id is equal, different, absent or distrusted, so that all cases can be enumerated. Each is compared
//! with an answer from tables in this file. The tables repeat docs/seats.md and were written without the code: this file calls
//! the rules only to get their answers.

use els_ledger::rules::{
    Candidate, Decision, Denied, Distrust, KeyState, KeyTerms, KnownId, MatchRule, RegisterCommand, RegisterFacts,
    UseDecision, UseFacts, Used, judge_register, judge_superseded_use,
};
use els_protocol::wire::{Os, Seats};
use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW + seconds)
}

fn machine(number: u8) -> MachineId {
    MachineId::from_random([number; 16])
}

fn registration(number: usize) -> RegistrationId {
    RegistrationId::from_random([u8::try_from(number).unwrap(); 16])
}

/// How two ids stand to each other once those that are distrusted count as absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ids {
    Equal,
    Different,
    Absent,
}

fn compare(one: Option<u8>, other: Option<u8>) -> Ids {
    match (one, other) {
        (Some(one), Some(other)) if one == other => Ids::Equal,
        (Some(_), Some(_)) => Ids::Different,
        _ => Ids::Absent,
    }
}

/// Every way in which a machine that asks can stand to one that is there: machine ids, hardware ids, `moved`; and the rule.
#[rustfmt::skip]
const RULES: [(Ids, Ids, bool, Option<u8>); 18] = [
    (Ids::Equal,     Ids::Equal,     false, Some(1)),
    (Ids::Equal,     Ids::Equal,     true,  Some(1)),
    (Ids::Equal,     Ids::Different, false, None), // A clone.
    (Ids::Equal,     Ids::Different, true,  Some(3)), // Moved.
    (Ids::Equal,     Ids::Absent,    false, Some(2)),
    (Ids::Equal,     Ids::Absent,    true,  Some(2)),
    (Ids::Different, Ids::Equal,     false, Some(4)), // Reinstalled.
    (Ids::Different, Ids::Equal,     true,  Some(4)),
    (Ids::Different, Ids::Different, false, None),
    (Ids::Different, Ids::Different, true,  None),
    (Ids::Different, Ids::Absent,    false, None),
    (Ids::Different, Ids::Absent,    true,  None),
    (Ids::Absent,    Ids::Equal,     false, Some(4)), // The machine id is distrusted.
    (Ids::Absent,    Ids::Equal,     true,  Some(4)),
    (Ids::Absent,    Ids::Different, false, None),
    (Ids::Absent,    Ids::Different, true,  None),
    (Ids::Absent,    Ids::Absent,    false, None),
    (Ids::Absent,    Ids::Absent,    true,  None),
];

/// Machine id, and hardware id if it has one.
type Kind = (u8, Option<u8>);

/// All that a candidate can be, as far as it matters: each id equal to the asker's or not, the hardware id absent besides.
const KINDS: [Kind; 6] = [(1, None), (1, Some(7)), (1, Some(8)), (2, None), (2, Some(7)), (2, Some(8))];

/// Which of the others is the machine that asks, and by which rule.
fn expected(hardware: Option<u8>, moved: bool, distrust: Distrust, others: &[Kind]) -> Option<(usize, u8)> {
    let machine_id = |id: u8| (!distrust.machine || id != 1).then_some(id);
    let hardware_id = |id: Option<u8>| id.filter(|id| !distrust.hardware || Some(*id) != hardware);
    let rule = |other: &Kind| {
        let machines = compare(machine_id(1), machine_id(other.0));
        let hardwares = compare(hardware_id(hardware), hardware_id(other.1));
        let row = RULES.iter().find(|(m, h, moves, _)| (*m, *h, *moves) == (machines, hardwares, moved));
        row.expect("every way stands in the table").3
    };
    let found: Vec<Option<u8>> = others.iter().map(rule).collect();
    let first = found.iter().flatten().min()?;
    let fitting: Vec<usize> = (0..found.len()).filter(|place| found[*place] == Some(*first)).collect();
    if let [place] = fitting[..] {
        return Some((place, *first));
    }
    // The others are in the order in which they registered.
    let equal = |place: &&usize| {
        let other = &others[**place];
        compare(machine_id(1), machine_id(other.0)) == Ids::Equal && hardware_id(hardware) == hardware_id(other.1)
    };
    fitting.iter().rfind(equal).map(|place| (*place, *first))
}

fn command(hardware: Option<u8>, moved: bool) -> RegisterCommand {
    RegisterCommand {
        id: registration(250),
        key_hash: Sha256Hex([1; 32]),
        token_hash: Sha256Hex([2; 32]),
        machine: machine(1),
        hardware: hardware.map(machine),
        moved,
        os: Os { id: "almalinux".into(), version: "9.6".into() },
        arch: "x86_64".into(),
        label: None,
    }
}

fn terms() -> KeyTerms {
    KeyTerms { state: KeyState::Active, starts: None, expires: at(1000), grace_seconds: 0 }
}

/// Every row of up to `most` others.
fn rows(most: usize) -> Vec<Vec<Kind>> {
    let mut all = vec![Vec::new()];
    let mut longest = all.clone();
    for _ in 0..most {
        longest = longest.iter().flat_map(|row| KINDS.map(|kind| [&row[..], &[kind]].concat())).collect();
        all.extend(longest.iter().cloned());
    }
    all
}

/// Promise: seat-match-rules
#[test]
fn in_every_small_case_the_same_machine_is_who_the_table_says() {
    let mut cases = 0;
    let mut found = [0; 5];
    for others in rows(4) {
        let candidates: Vec<Candidate> = others
            .iter()
            .enumerate()
            .map(|(place, kind)| Candidate {
                id: registration(place),
                machine: machine(kind.0),
                hardware: kind.1.map(machine),
                hardware_distrusted: false,
                registered_at: at(i64::try_from(place).unwrap() - 10),
                room_at: None,
            })
            .collect();
        for (hardware, moved) in [(None, false), (None, true), (Some(7), false), (Some(7), true)] {
            for (of_machine, of_hardware) in [(false, false), (false, true), (true, false), (true, true)] {
                let distrust = Distrust { machine: of_machine, hardware: of_hardware };
                let mut candidates = candidates.clone();
                for one in &mut candidates {
                    one.hardware_distrusted = of_hardware && one.hardware == hardware.map(machine);
                }
                let facts = RegisterFacts {
                    terms: terms(),
                    covered: true,
                    seats: Seats { total: 1, used: 1 },
                    known: KnownId::New,
                    candidates: &candidates,
                    distrust,
                };
                let judged = judge_register(at(0), &command(hardware, moved), &facts);
                let at = format!("hardware {hardware:?}, moved {moved}, {distrust:?}, {others:?}");
                cases += 1;
                match expected(hardware, moved, distrust, &others) {
                    Some((place, rule)) => {
                        let Ok(Decision::Move { from, rule: matched }) = judged else { panic!("{at}: {judged:?}") };
                        let by = match matched {
                            MatchRule::SameMachineAndHardware => 1,
                            MatchRule::SameMachineOnly => 2,
                            MatchRule::SameMachineMoved => 3,
                            MatchRule::SameHardwareOnly => 4,
                        };
                        assert_eq!((from, by), (registration(place), rule), "{at}");
                        found[usize::from(rule)] += 1;
                    }
                    None => {
                        let distrusted = of_machine || of_hardware;
                        assert_eq!(judged, Err(Denied::KeyFull { seats: facts.seats, distrusted }), "{at}");
                        found[0] += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, 16 * (1 + 6 + 36 + 216 + 1296));
    assert!(found.iter().all(|count| *count > 100), "each outcome is among them: {found:?}");
    println!("same machine: {cases} cases, {found:?} by no rule and by each of the four, failures 0");
}

/// The states of a key at `now`, with what it does then: give a further seat, let known machines go on.
fn keys(now: i64) -> Vec<(KeyTerms, bool, bool)> {
    let mut all = Vec::new();
    for state in [KeyState::Active, KeyState::Suspended, KeyState::Revoked] {
        for starts in [None, Some(now - 1), Some(now), Some(now + 1)] {
            for expires in [now - 11, now - 10, now - 1, now, now + 1] {
                for grace in [0, 10] {
                    let terms = KeyTerms { state, starts: starts.map(at), expires: at(expires), grace_seconds: grace };
                    let serves = state == KeyState::Active && now < expires + grace;
                    let begun = starts.is_none_or(|starts| starts <= now);
                    all.push((terms, serves && begun && now < expires, serves));
                }
            }
        }
    }
    all
}

/// Promise: seat-two-alive
#[test]
fn in_every_small_case_a_superseded_credential_decides_what_the_table_says() {
    let mut cases = 0;
    let mut decided = std::collections::HashMap::new();
    for (terms, _, serves) in keys(0) {
        for age in [-1, 0, 3599, 3600, 86_399, 86_400, 1_000_000] {
            for (total, used) in (0..5).flat_map(|total| (0..5).map(move |used| (total, used))) {
                for holder in [None, Some(-1), Some(0), Some(1)] {
                    if holder.is_some() && used == 0 {
                        continue; // It is counted.
                    }
                    for (sharing, before) in [(1, 0), (3, 0), (3, 1), (3, 2)] {
                        let seats = Seats { total, used };
                        let (since, registered_at) = (at(-age), at(-age));
                        let facts = UseFacts {
                            terms,
                            seats,
                            since,
                            registered_at,
                            holder: holder.map(|later| at(later - age)),
                            sharing,
                            before,
                        };
                        let free = usize::try_from(total.saturating_sub(used)).unwrap();
                        // docs/seats.md, row by row.
                        let expected = match (serves, age >= 3600, before < free, holder, age < 86_400) {
                            (false, ..) | (_, false, ..) => None,
                            (_, _, true, ..) => Some(Used::OwnSeat),
                            (_, _, false, None, _) => Some(Used::Released),
                            (_, _, false, Some(later), true) if later >= 0 => Some(Used::HoldersSeat),
                            (_, _, false, Some(_), _) => Some(Used::Released),
                        };
                        let expected = expected.map(|used| UseDecision { seats: free.min(sharing), used });
                        let got = judge_superseded_use(at(0), &facts);
                        assert_eq!(got, expected, "{facts:?}");
                        // Whatever is decided, no seat is given that is not there.
                        let more = got.map_or(0, |got| got.seats as u64);
                        assert!(more == 0 || used + more <= total, "{facts:?}: {more} more");
                        *decided.entry(format!("{:?}", got.map(|got| got.used))).or_insert(0) += 1;
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(decided.len(), 4, "{decided:?}");
    println!("superseded credentials: {cases} cases, {decided:?}, failures 0");
}

/// Promise: seat-match-rules
#[test]
fn in_every_small_case_a_put_is_answered_as_the_table_says() {
    let myself = Candidate {
        id: registration(3),
        machine: machine(1),
        hardware: Some(machine(7)),
        hardware_distrusted: false,
        registered_at: at(-5),
        room_at: None,
    };
    let other = Candidate { id: registration(4), machine: machine(2), ..myself };
    let another = Candidate { id: registration(5), machine: machine(3), ..myself };
    let mut cases = 0;
    for (terms, gives, serves) in keys(0) {
        let begun = terms.starts.is_none_or(|starts| starts <= at(0));
        for covered in [false, true] {
            for (total, used) in [(0, 0), (1, 0), (1, 1), (1, 2), (2, 1)] {
                for known in known_ids() {
                    for candidates in [&[][..], &[myself], &[other, another]] {
                        for moved in [false, true] {
                            let seats = Seats { total, used };
                            let facts = RegisterFacts {
                                terms,
                                covered,
                                seats,
                                known,
                                candidates,
                                distrust: Distrust::default(),
                            };
                            let got = judge_register(at(0), &command(Some(7), moved), &facts);
                            let is_own = matches!(known, KnownId::Held { same_key: true, token_hash, machine: id, .. }
                                if token_hash == Sha256Hex([2; 32]) && (id == machine(1) || moved));
                            // docs/seats.md, in its order.
                            let expected = if terms.state == KeyState::Revoked {
                                Err(Denied::KeyRevoked)
                            } else if terms.state == KeyState::Suspended {
                                Err(Denied::KeySuspended)
                            } else if !begun {
                                Err(Denied::KeyNotYetValid)
                            } else if !serves {
                                Err(Denied::KeyExpired)
                            } else if !covered {
                                Err(Denied::SystemNotCovered)
                            } else if is_own {
                                match known {
                                    KnownId::Held { superseded: None, .. } => Ok("confirmed"),
                                    KnownId::Held { superseded: Some(since), .. } if since == at(-3599) => {
                                        Ok("superseded")
                                    }
                                    _ => Ok("a use"),
                                }
                            } else if matches!(known, KnownId::Held { .. }) {
                                Err(Denied::RegistrationConflict)
                            } else if known != KnownId::New {
                                Err(Denied::RegistrationReleased)
                            } else if candidates.len() == 1 {
                                Ok("moved")
                            } else if !gives {
                                Err(Denied::KeyExpired)
                            } else if used >= total {
                                Err(Denied::KeyFull { seats, distrusted: false })
                            } else {
                                Ok("taken")
                            };
                            let told = got.map(|decision| match decision {
                                Decision::Confirm => "confirmed",
                                Decision::ConfirmSuperseded => "superseded",
                                Decision::DecideUseFirst => "a use",
                                Decision::Move { .. } => "moved",
                                Decision::Take => "taken",
                            });
                            assert_eq!(
                                told,
                                expected,
                                "{terms:?} {facts:?} moved {moved}",
                                facts = (covered, seats, known)
                            );
                            cases += 1;
                        }
                    }
                }
            }
        }
    }
    println!("PUT: {cases} cases, failures 0");
}

fn known_ids() -> Vec<KnownId> {
    let mut all = vec![KnownId::New, KnownId::Released, KnownId::ReleasedEarly];
    for same_key in [false, true] {
        for token in [2, 3] {
            for id in [1, 2] {
                let token_hash = Sha256Hex([token; 32]);
                for superseded in [None, Some(at(-3599)), Some(at(-3600))] {
                    all.push(KnownId::Held { superseded, same_key, token_hash, machine: machine(id) });
                }
            }
        }
    }
    all
}
