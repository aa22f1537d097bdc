//! Long histories of all kinds of changes, made from a seed: the promises hold after each of them.

use els_ledger::rules::KeyState;
use els_ledger::{CredentialState, How, KeyChange, KeyId};

use super::*;
use els_testkit::sweep::Dice;

/// Promise: seat-delete
/// Promise: seat-limit
/// Promise: seat-audit-log
pub(crate) async fn whatever_happens_seats_and_credentials_agree(store: Arc<dyn Store>) {
    const MACHINES: u32 = 6;
    let key = KeyId::parse("a").unwrap();
    make_key(&store, "a", 4).await;
    let mut dice = Dice(1);
    let mut now = 0;
    let (mut ids, mut kinds_seen) = (0, std::collections::HashSet::new());
    for round in 0..2000 {
        now += i64::from(dice.roll(900));
        // One of the latest; 0 is nobody's.
        let some_id = ids - dice.roll(8).min(ids);
        match dice.roll(10) {
            0..=4 => {
                ids += 1;
                let machine = dice.roll(MACHINES);
                // Some machines share an image, some have no hardware id, some sit on one board after another.
                let command = RegisterCommand {
                    moved: dice.roll(8) == 0,
                    ..asks(ids, machine / 2, [0, machine + 1, 50, dice.roll(3)][dice.roll(4) as usize])
                };
                let before = seats(&store, "a").await;
                match how(&store, now, command).await {
                    Ok((How::Created, used)) => assert!(used == before.used + 1 && used <= before.total, "{round}"),
                    Ok((How::Moved, used)) => assert_eq!(used, before.used, "{round}"),
                    Ok((How::Confirmed, _)) => panic!("{round}: a new id was confirmed"),
                    Err(Denied::KeyFull { .. }) => assert!(before.used >= before.total, "{round}"),
                    Err(Denied::MovedTooOften { .. }) => assert!(before.used >= before.total, "{round}"),
                    Err(other) => assert_eq!(other, Denied::KeySuspended, "{round}"),
                }
            }
            5 => {
                store.superseded_used(at(now), by(), registration(some_id)).await.unwrap();
            }
            6 => {
                let _ =
                    store.unregister(at(now), by(), registration(some_id), token(some_id), client(1)).await.unwrap();
            }
            7 => {
                let _ = get(&store, now, some_id).await;
            }
            8 => {
                let trust_again = dice.roll(4) == 0;
                let change =
                    KeyChange { seats: Some(u64::from(2 + dice.roll(7))), trust_again, ..KeyChange::default() };
                updated(store.update_key(at(now), Scope::Vendor, By::vendor(), &key, change).await);
            }
            _ => {
                let state = [KeyState::Suspended, KeyState::Active][usize::from(dice.roll(4) != 0)];
                state_set(store.set_key_state(at(now), Scope::Vendor, By::vendor(), &key, state).await);
            }
        }
        if round % 100 == 0 {
            let mut active = 0;
            for id in 1..=ids {
                let found = store.credential(registration(id)).await.unwrap().found;
                active += u64::from(found.is_some_and(|(one, _)| one.state == CredentialState::Active));
            }
            assert_eq!(active, seats(&store, "a").await.used, "{round}");
            assert_eq!(store.check().await.unwrap(), [""; 0], "{round}");
        }
    }
    for event in store.events(at(0), Scope::Vendor, EventFilter::default(), Cursor(0), 100_000).await.unwrap() {
        kinds_seen.insert(event.event);
    }
    // The history went everywhere.
    for kind in ["seat-taken", "seat-moved", "superseded", "released", "seat-returned", "seat-split", "distrusted"] {
        assert!(kinds_seen.contains(kind), "{kind}");
    }
}
