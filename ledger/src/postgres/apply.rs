//! Carrying changes out, many at once: one statement for each kind of change, all of them sent together.
//!
//! Owns every statement that changes a seat or a key. Decides nothing. The lists may come from many calls, if no two of them
//! concern the same registration; then only the order within one call matters, and the order of the kinds here suits each
//! list that `seats` and `keys` make: what ends makes room before what begins.

use std::collections::BTreeMap;

use els_protocol::Timestamp;
use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use uuid::Uuid;

use super::client::{Statements, Values};
use super::failure::Failed;
use super::row::{bigint, machine_uuid, uuid};
use crate::by::By;
use crate::change::{Change, Decided, Entry, NewRegistration, Particulars};
use crate::rows::{REMEMBERED_PER_CLIENT, key_state_text, match_rule_text};
use crate::{KeyNumber, KeyRecord};

/// The changes of one call, and who caused them.
pub(super) type Caused<'a> = (&'a By, Vec<Change>);

/// Carries changes out in the transaction that is open on `db`.
pub(super) async fn apply(db: &impl Statements, calls: &[Caused<'_>]) -> Result<(), Failed> {
    let sorted = Sorted::of(calls);
    let steps = sorted.steps();
    let texts: Vec<&'static str> = steps.iter().map(|step| step.text).collect();
    db.prepare(&texts).await?;
    // They are sent in this order, and the server carries them out in it; none is waited for before the next is sent.
    let sent = steps.into_iter().map(|step| step.send(db).boxed());
    try_join_all(sent.collect::<Vec<BoxFuture<'_, _>>>()).await.map(drop)
}

/// Carries the changes of a decision out; gives its outcome.
pub(super) async fn carried_out<T>(db: &impl Statements, by: &By, decided: Decided<T>) -> Result<T, Failed> {
    apply(db, &[(by, decided.changes)]).await?;
    Ok(decided.outcome)
}

/// One statement, and its values.
struct Step<'a> {
    text: &'static str,
    values: Values<'a>,
    /// How many rows it has to change.
    rows: Option<usize>,
}

impl<'a> Step<'a> {
    async fn send(self, db: &impl Statements) -> Result<(), Failed> {
        let changed = db.run(self.text, self.values).await?;
        match self.rows {
            Some(rows) if changed != rows as u64 => {
                Err(Failed::invalid("other rows than were read a moment before, or no free seat where one was"))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Default)]
struct Sorted<'a> {
    released: Vec<(Uuid, i64)>,
    /// All that were superseded by the first.
    followed: Vec<(Uuid, Uuid)>,
    forgotten: Vec<(i64, &'static str, Uuid)>,
    superseded: Vec<(Uuid, i64, Uuid, &'static str)>,
    reactivated: Vec<Uuid>,
    inserted: Vec<&'a NewRegistration>,
    updated: Vec<&'a Particulars>,
    others: Vec<&'a Change>,
    /// How many seats more (or fewer) of a key are used.
    seats: BTreeMap<i64, i64>,
    events: Vec<(&'a By, &'a Entry)>,
}

impl<'a> Sorted<'a> {
    fn of(calls: &'a [Caused<'a>]) -> Self {
        let mut sorted = Sorted::default();
        for (by, change) in calls.iter().flat_map(|(by, changes)| changes.iter().map(move |change| (*by, change))) {
            match change {
                Change::Insert(new) => sorted.inserted.push(new),
                Change::Update(particulars) => sorted.updated.push(particulars),
                Change::Release { id, at } => sorted.released.push((uuid(id), at.unix())),
                Change::Supersede { id, at, successor, rule } => {
                    sorted.superseded.push((uuid(id), at.unix(), uuid(successor), match_rule_text(*rule)));
                }
                Change::FollowAll { from, successor } => sorted.followed.push((uuid(from), uuid(successor))),
                Change::ForgetDistrust { key, kind, id } => {
                    sorted.forgotten.push((key.0, kind.as_str(), machine_uuid(id)))
                }
                Change::Reactivate { id } => sorted.reactivated.push(uuid(id)),
                Change::UseSeat(KeyNumber(key)) => *sorted.seats.entry(*key).or_default() += 1,
                Change::FreeSeat(KeyNumber(key)) => *sorted.seats.entry(*key).or_default() -= 1,
                Change::Event(entry) => sorted.events.push((by, entry)),
                Change::Distrust { .. }
                | Change::RememberEarly { .. }
                | Change::UpdateKey(_)
                | Change::SetKeyState { .. }
                | Change::Refuse { .. }
                | Change::EndRefusal { .. }
                | Change::EndSecrets { .. }
                | Change::AddSecret { .. }
                | Change::TrustAgain(_) => sorted.others.push(change),
            }
        }
        sorted.seats.retain(|_, more| *more != 0);
        sorted
    }

    fn steps(&self) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut step = |text, rows: usize, values: Values<'a>| {
            if rows != 0 {
                steps.push(Step { text, values, rows: Some(rows) });
            }
        };
        let (ids, at): (Vec<Uuid>, Vec<i64>) = self.released.iter().copied().unzip();
        step(RELEASE, ids.len(), vec![Box::new(ids), Box::new(at)]);
        let (ids, successors): (Vec<Uuid>, Vec<Uuid>) = self.followed.iter().copied().unzip();
        // How many registrations follow was not read.
        let follow = (!ids.is_empty()).then(|| Step {
            text: FOLLOW,
            values: vec![Box::new(ids), Box::new(successors)],
            rows: None,
        });
        steps.extend(follow);
        let mut step = |text, rows: usize, values: Values<'a>| {
            if rows != 0 {
                steps.push(Step { text, values, rows: Some(rows) });
            }
        };
        step(SUPERSEDE, self.superseded.len(), supersede_values(&self.superseded));
        step(REACTIVATE, self.reactivated.len(), vec![Box::new(self.reactivated.clone())]);
        step(INSERT, self.inserted.len(), insert_values(&self.inserted));
        step(UPDATE, self.updated.len(), update_values(&self.updated));
        let (keys, more): (Vec<i64>, Vec<i64>) = self.seats.iter().map(|(key, more)| (*key, *more)).unzip();
        step(SEATS, keys.len(), vec![Box::new(keys), Box::new(more)]);
        for change in &self.others {
            other(change, &mut steps);
        }
        if !self.forgotten.is_empty() {
            let keys: Vec<i64> = self.forgotten.iter().map(|one| one.0).collect();
            let kinds: Vec<&'static str> = self.forgotten.iter().map(|one| one.1).collect();
            let ids: Vec<Uuid> = self.forgotten.iter().map(|one| one.2).collect();
            let values: Values<'a> = vec![Box::new(keys), Box::new(kinds), Box::new(ids)];
            steps.push(Step { text: FORGET_DISTRUST, values, rows: None });
        }
        if !self.events.is_empty() {
            // From here to the end of the transaction no other one writes events: see the table.
            steps.push(Step { text: LOCK_FEED, values: vec![Box::new(super::LOCK_OF_FEED)], rows: None });
            steps.push(Step { text: EVENTS, values: event_values(&self.events), rows: Some(self.events.len()) });
        }
        steps
    }
}

fn other<'a>(change: &'a Change, steps: &mut Vec<Step<'a>>) {
    let mut step = |text, values| steps.push(Step { text, values, rows: None });
    match change {
        Change::Distrust { key, kind, id, since } => {
            let (key, kind, id, since) = (key.0, kind.as_str(), machine_uuid(id), since.unix());
            step(DISTRUST, vec![Box::new(key), Box::new(kind), Box::new(id), Box::new(since)]);
        }
        Change::RememberEarly { id, token_hash, client, at } => {
            let (id, token_hash, client, at) = (uuid(id), token_hash.0.to_vec(), client.as_str(), at.unix());
            step(REMEMBER, vec![Box::new(id), Box::new(token_hash), Box::new(client), Box::new(at)]);
            step(BOUND, vec![Box::new(client), Box::new(i64::from(REMEMBERED_PER_CLIENT))]);
        }
        Change::UpdateKey(key) => step(UPDATE_KEY, key_values(key)),
        Change::SetKeyState { key, state } => {
            step(SET_KEY_STATE, vec![Box::new(key.0), Box::new(key_state_text(*state))]);
        }
        Change::Refuse { key, reason, since, until } => {
            let (reason, until) = (reason.as_str(), until.map(Timestamp::unix));
            step(REFUSE, vec![Box::new(key.0), Box::new(reason), Box::new(since.unix()), Box::new(until)]);
        }
        Change::EndRefusal { key, until } => step(END_REFUSAL, vec![Box::new(key.0), Box::new(until.unix())]),
        Change::EndSecrets { key, until } => step(END_SECRETS, vec![Box::new(key.0), Box::new(until.unix())]),
        Change::AddSecret { key, hash } => step(ADD_SECRET, vec![Box::new(hash.0.to_vec()), Box::new(key.0)]),
        Change::TrustAgain(key) => step(TRUST_AGAIN, vec![Box::new(key.0)]),
        _ => {}
    }
}

fn key_values(key: &KeyRecord) -> Values<'_> {
    vec![
        Box::new(key.number.0),
        Box::new(key.product.as_str()),
        Box::new(bigint(key.seats.total)),
        Box::new(key.starts.map(Timestamp::unix)),
        Box::new(key.expires.unix()),
        Box::new(key.contract.as_deref()),
        Box::new(key.reseller.as_deref()),
        Box::new(key.note.as_deref()),
        Box::new(key.release_unseen_after.map(i64::from)),
        Box::new(key.self_release),
    ]
}

fn supersede_values<'a>(superseded: &[(Uuid, i64, Uuid, &'static str)]) -> Values<'a> {
    vec![
        Box::new(superseded.iter().map(|one| one.0).collect::<Vec<_>>()),
        Box::new(superseded.iter().map(|one| one.1).collect::<Vec<_>>()),
        Box::new(superseded.iter().map(|one| one.2).collect::<Vec<_>>()),
        Box::new(superseded.iter().map(|one| one.3).collect::<Vec<_>>()),
    ]
}

fn insert_values<'a>(inserted: &[&'a NewRegistration]) -> Values<'a> {
    vec![
        Box::new(inserted.iter().map(|new| uuid(&new.id)).collect::<Vec<_>>()),
        Box::new(inserted.iter().map(|new| new.key.0).collect::<Vec<_>>()),
        Box::new(inserted.iter().map(|new| new.token_hash.0.to_vec()).collect::<Vec<_>>()),
        Box::new(inserted.iter().map(|new| machine_uuid(&new.machine)).collect::<Vec<_>>()),
        Box::new(inserted.iter().map(|new| new.hardware.as_ref().map(machine_uuid)).collect::<Vec<_>>()),
        Box::new(inserted.iter().map(|new| new.os.id.as_str()).collect::<Vec<_>>()),
        Box::new(inserted.iter().map(|new| new.os.version.as_str()).collect::<Vec<_>>()),
        Box::new(inserted.iter().map(|new| new.arch.as_str()).collect::<Vec<_>>()),
        Box::new(inserted.iter().map(|new| new.label.as_ref().map(|label| label.as_str())).collect::<Vec<_>>()),
        Box::new(inserted.iter().map(|new| new.at.unix()).collect::<Vec<_>>()),
    ]
}

fn update_values<'a>(updated: &[&'a Particulars]) -> Values<'a> {
    vec![
        Box::new(updated.iter().map(|new| uuid(&new.id)).collect::<Vec<_>>()),
        Box::new(updated.iter().map(|new| machine_uuid(&new.machine)).collect::<Vec<_>>()),
        Box::new(updated.iter().map(|new| new.hardware.as_ref().map(machine_uuid)).collect::<Vec<_>>()),
        Box::new(updated.iter().map(|new| new.os.id.as_str()).collect::<Vec<_>>()),
        Box::new(updated.iter().map(|new| new.os.version.as_str()).collect::<Vec<_>>()),
        Box::new(updated.iter().map(|new| new.arch.as_str()).collect::<Vec<_>>()),
        Box::new(updated.iter().map(|new| new.label.as_ref().map(|label| label.as_str())).collect::<Vec<_>>()),
    ]
}

fn event_values<'a>(events: &[(&'a By, &'a Entry)]) -> Values<'a> {
    vec![
        Box::new(events.iter().map(|(_, entry)| entry.at.unix()).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(_, entry)| entry.kind.as_str()).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(_, entry)| entry.key.0).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(_, entry)| entry.registration.as_ref().map(uuid)).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(_, entry)| entry.other.as_ref().map(uuid)).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(_, entry)| entry.machine.as_ref().map(machine_uuid)).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(_, entry)| entry.hardware.as_ref().map(machine_uuid)).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(_, entry)| entry.detail.as_deref()).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(by, _)| by.actor.text()).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(by, _)| by.origin.as_str()).collect::<Vec<_>>()),
        Box::new(events.iter().map(|(by, _)| by.request.as_deref()).collect::<Vec<_>>()),
    ]
}

// `= ANY ($1)` repeats what the join says, so that the rows are found by their index whatever the plan.
const RELEASE: &str =
    "UPDATE registrations r SET state = 'released', ended_at = x.at, successor = NULL, likeness = NULL
    FROM unnest($1::uuid[], $2::int8[]) AS x (id, at) WHERE r.id = x.id AND r.id = ANY ($1)";
const FOLLOW: &str = "UPDATE registrations r SET successor = x.successor
    FROM unnest($1::uuid[], $2::uuid[]) AS x (holder, successor)
    WHERE r.successor = x.holder AND r.successor = ANY ($1) AND r.state = 'superseded' AND r.successor IS NOT NULL";
const SUPERSEDE: &str = "UPDATE registrations r
    SET state = 'superseded', ended_at = x.at, successor = x.successor, likeness = x.match_rule
    FROM unnest($1::uuid[], $2::int8[], $3::uuid[], $4::text[]) AS x (id, at, successor, match_rule)
    WHERE r.id = x.id AND r.id = ANY ($1)";
const REACTIVATE: &str = "UPDATE registrations
    SET state = 'active', ended_at = NULL, successor = NULL, likeness = NULL WHERE id = ANY ($1::uuid[])";
const INSERT: &str = "INSERT INTO registrations
    (id, key, token_hash, state, machine, hardware, os, os_version, arch, label, registered_at)
    SELECT id, key, token_hash, 'active', machine, hardware, os, os_version, arch, label, registered_at
    FROM unnest($1::uuid[], $2::int8[], $3::bytea[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::int8[]) AS x (id, key, token_hash, machine, hardware, os, os_version, arch, label, registered_at)";
const UPDATE: &str = "UPDATE registrations r SET machine = x.machine, hardware = x.hardware, os = x.os,
        os_version = x.os_version, arch = x.arch, label = x.label
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[])
        AS x (id, machine, hardware, os, os_version, arch, label) WHERE r.id = x.id AND r.id = ANY ($1)";
/// The condition repeats what the rules have decided, so that not even a fault there oversells.
const SEATS: &str = "UPDATE keys k SET used = used + x.more FROM unnest($1::int8[], $2::int8[]) AS x (number, more)
    WHERE k.number = x.number AND k.number = ANY ($1) AND (x.more <= 0 OR used + x.more <= seats)";
const DISTRUST: &str = "INSERT INTO distrusted (key, kind, id, since) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
const REMEMBER: &str = "INSERT INTO early_releases (id, token_hash, client, at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (id, token_hash) DO UPDATE SET at = excluded.at";
const BOUND: &str = "DELETE FROM early_releases WHERE (id, token_hash) IN
    (SELECT id, token_hash FROM early_releases WHERE client = $1 ORDER BY at DESC OFFSET $2)";
const UPDATE_KEY: &str =
    "UPDATE keys SET product = $2, seats = $3, starts = $4, expires = $5, contract = $6, reseller = $7,
        note = $8, release_unseen_after = $9, self_release = $10 WHERE number = $1";
const SET_KEY_STATE: &str = "UPDATE keys SET state = $2 WHERE number = $1";
/// A secret that ends earlier still does.
const END_SECRETS: &str = "UPDATE secrets SET until = least(until, $2) WHERE key = $1 AND (key > 0) IS TRUE";
const ADD_SECRET: &str = "INSERT INTO secrets (hash, key) VALUES ($1, $2)";
/// Each condition is that of one index. OFFSET 0 keeps the planner from reading all of an index into a table of hashes.
const FORGET_DISTRUST: &str =
    "DELETE FROM distrusted d USING unnest($1::int8[], $2::text[], $3::uuid[]) AS x (key, kind, id)
    WHERE d.key = x.key AND d.kind = x.kind AND d.id = x.id AND NOT CASE x.kind
        WHEN 'machine' THEN
            EXISTS (SELECT 1 FROM registrations r WHERE r.key = x.key AND r.machine = x.id
                    AND r.state = 'active' AND r.machine IS NOT NULL OFFSET 0)
            OR EXISTS (SELECT 1 FROM registrations r WHERE r.key = x.key AND r.machine = x.id
                       AND r.state = 'superseded' AND r.machine IS NOT NULL OFFSET 0)
        ELSE
            EXISTS (SELECT 1 FROM registrations r WHERE r.key = x.key AND r.hardware = x.id
                    AND r.state = 'active' AND r.hardware IS NOT NULL OFFSET 0)
            OR EXISTS (SELECT 1 FROM registrations r WHERE r.key = x.key AND r.hardware = x.id
                       AND r.state = 'superseded' AND r.hardware IS NOT NULL OFFSET 0) END";
const REFUSE: &str = "INSERT INTO refusals (key, reason, since, until) VALUES ($1, $2, $3, $4)
    ON CONFLICT (key, reason, since) DO UPDATE SET until = excluded.until";
const END_REFUSAL: &str = "UPDATE refusals SET until = $2 WHERE key = $1 AND until IS NULL";
const TRUST_AGAIN: &str = "DELETE FROM distrusted WHERE key = $1";
const LOCK_FEED: &str = "SELECT pg_advisory_xact_lock($1)";
const EVENTS: &str = "INSERT INTO events (at, kind, key, registration, other, machine, hardware, detail, actor, origin, request)
    SELECT at, kind, key, registration, other, machine, hardware, detail, actor, origin, request
    FROM unnest($1::int8[], $2::text[], $3::int8[], $4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::text[],
        $10::text[], $11::text[])
        WITH ORDINALITY AS x (at, kind, key, registration, other, machine, hardware, detail, actor, origin, request, place)
    ORDER BY place";
