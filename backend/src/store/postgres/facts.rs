//! Reading the facts of many requests at once, in the transaction of their group.
//!
//! Owns the questions and the order of locks: places of ids first, then keys, each in its order, so that no two groups, on
//! whatever nodes, wait for each other in a circle. Knows no rule.

use std::collections::{HashMap, HashSet};

use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};
use futures_util::future::{try_join, try_join3};
use uuid::Uuid;

use super::client::Statements;
use super::failure::Failed;
use super::row::{Columns, candidate, held, held_columns, key, key_columns, machine_uuid, uuid};
use crate::license::{Distrust, RegisterCommand};
use crate::store::KeyNumber;
use crate::store::rows::{CandidateRow, Held, IdKind, Key, REMEMBERED_SECONDS};

/// What was read for a group, and is true until its transaction ends.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) keys: HashMap<KeyNumber, Key>,
    pub(super) held: HashMap<RegistrationId, Held>,
    secrets: HashMap<Sha256Hex, (KeyNumber, Option<Timestamp>)>,
    early: Vec<(RegistrationId, Sha256Hex, Timestamp)>,
    distrusted: HashSet<(KeyNumber, IdKind, MachineId)>,
    candidates: Candidates,
}

/// For each id that is asked for, those that could be the same machine.
type Candidates = HashMap<RegistrationId, Vec<CandidateRow>>;

/// What a group needs to know.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    /// PUTs.
    pub(super) commands: Vec<&'a RegisterCommand>,
    /// Keys that are presented.
    pub(super) secrets: Vec<Sha256Hex>,
    /// Registrations that are named, those of the PUTs among them.
    pub(super) ids: Vec<RegistrationId>,
    /// Of these, those that a DELETE names: it may be that nobody has seen them.
    pub(super) deleted: Vec<RegistrationId>,
}

impl Facts {
    /// Reads what is wanted, and locks what it depends on.
    pub(super) async fn read(db: &impl Statements, wanted: &Wanted<'_>) -> Result<Self, Failed> {
        let mut facts = Facts::default();
        let ids: Vec<Uuid> = wanted.ids.iter().map(uuid).collect();
        // Which keys it is about. Neither a secret nor a registration ever changes its key, so no lock is needed for that.
        let secrets: Vec<Vec<u8>> = wanted.secrets.iter().map(|secret| secret.0.to_vec()).collect();
        let (by_secret, by_id) =
            try_join(db.ask(SECRETS, vec![Box::new(secrets)]), db.ask(KEYS_OF_IDS, vec![Box::new(ids.clone())]))
                .await?;
        let mut numbers: Vec<i64> = Vec::new();
        for row in &by_secret {
            let row = Columns(row);
            let number: i64 = row.get(1)?;
            facts.secrets.insert(row.hash(0)?, (KeyNumber(number), row.optional_time(2)?));
            numbers.push(number);
        }
        let mut known = HashSet::new();
        for row in &by_id {
            let row = Columns(row);
            known.insert(row.id(0)?);
            numbers.push(row.get(1)?);
        }
        lock_places(db, wanted, &known).await?;
        numbers.sort_unstable();
        numbers.dedup();
        for row in db.ask(LOCK_KEYS, vec![Box::new(numbers.clone())]).await? {
            let key = key(&row)?;
            facts.keys.insert(key.number, key);
        }
        // An id that was unknown a moment ago may be known by now, but never the other way round.
        let new: Vec<(&RegisterCommand, KeyNumber)> = wanted
            .commands
            .iter()
            .filter(|command| !known.contains(&command.id))
            .filter_map(|command| Some((*command, facts.secrets.get(&command.key_hash)?.0)))
            .collect();
        let (held, few) = try_join(read_registrations(db, ids), facts.read_for_new(db, &new)).await?;
        facts.held = held;
        facts.candidates = few;
        facts.read_more_candidates(db, &new).await?;
        Ok(facts)
    }

    /// The key that a secret stands for at this time.
    pub(super) fn key_by_secret(&self, now: Timestamp, secret: &Sha256Hex) -> Option<&Key> {
        let (number, until) = self.secrets.get(secret)?;
        self.keys.get(number).filter(|_| until.is_none_or(|until| until > now))
    }

    /// Whether this id was given back with this token within the last day.
    pub(super) fn is_remembered(&self, now: Timestamp, id: &RegistrationId, token_hash: &Sha256Hex) -> bool {
        let since = now.plus_seconds(-REMEMBERED_SECONDS);
        self.early.iter().any(|(of, token, at)| of == id && token == token_hash && *at > since)
    }

    /// Which of a machine's ids the key distrusts.
    pub(super) fn distrust(&self, key: KeyNumber, command: &RegisterCommand) -> Distrust {
        let distrusts = |kind, id: MachineId| self.distrusted.contains(&(key, kind, id));
        Distrust {
            machine: distrusts(IdKind::Machine, command.machine),
            hardware: command.hardware.is_some_and(|id| distrusts(IdKind::Hardware, id)),
        }
    }

    /// Those that could be the same machine as the one that asks for this id.
    pub(super) fn candidates(&self, id: &RegistrationId) -> &[CandidateRow] {
        self.candidates.get(id).map_or(&[], Vec::as_slice)
    }

    /// Reads what the rules ask of new ids: those that were given back early, distrusted ids, and who could be the same machine.
    async fn read_for_new(
        &mut self,
        db: &impl Statements,
        new: &[(&RegisterCommand, KeyNumber)],
    ) -> Result<Candidates, Failed> {
        if new.is_empty() {
            return Ok(Candidates::new());
        }
        let ids: Vec<Uuid> = new.iter().map(|(command, _)| uuid(&command.id)).collect();
        let keys: Vec<i64> = new.iter().map(|(_, key)| key.0).collect();
        let mut machines: Vec<Uuid> = Vec::new();
        for (command, _) in new {
            machines.push(machine_uuid(&command.machine));
            machines.extend(command.hardware.as_ref().map(machine_uuid));
        }
        let (early, distrusted, found) = try_join3(
            db.ask(EARLY, vec![Box::new(ids)]),
            db.ask(DISTRUSTED, vec![Box::new(keys), Box::new(machines)]),
            ask_candidates(db, CANDIDATES, new),
        )
        .await?;
        for row in &early {
            let row = Columns(row);
            self.early.push((row.id(0)?, row.hash(1)?, row.time(2)?));
        }
        for row in &distrusted {
            let row = Columns(row);
            let kind = if row.get::<&str>(1)? == "machine" { IdKind::Machine } else { IdKind::Hardware };
            let id = row.machine_id(2)?.ok_or_else(|| Failed::invalid("a distrusted id that is none"))?;
            self.distrusted.insert((KeyNumber(row.get(0)?), kind, id));
        }
        Ok(found)
    }

    /// Where many share an id, a few of each kind are as good to the rules as all of them; but they have to be of each kind.
    async fn read_more_candidates(
        &mut self,
        db: &impl Statements,
        new: &[(&RegisterCommand, KeyNumber)],
    ) -> Result<(), Failed> {
        let crowded = |id| self.candidates.get(id).is_some_and(|found| found.len() > 2);
        let crowded: Vec<(&RegisterCommand, KeyNumber)> =
            new.iter().filter(|(command, _)| crowded(&command.id)).copied().collect();
        if crowded.is_empty() {
            return Ok(());
        }
        for (id, more) in ask_candidates(db, CANDIDATES_OF_EACH_KIND, &crowded).await? {
            let found = self.candidates.entry(id).or_default();
            found.extend(more);
            found.sort_by_key(|one| one.candidate.id);
            found.dedup_by_key(|one| one.candidate.id);
        }
        Ok(())
    }
}

/// The registrations, and those that superseded ones among them were superseded by.
async fn read_registrations(db: &impl Statements, ids: Vec<Uuid>) -> Result<HashMap<RegistrationId, Held>, Failed> {
    let mut found = HashMap::new();
    for row in db.ask(HELD_BY_ID, vec![Box::new(ids)]).await? {
        let held = held(&row)?;
        found.insert(held.id, held);
    }
    let successors: Vec<Uuid> = found.values().filter_map(|held| held.successor.as_ref()).map(uuid).collect();
    if !successors.is_empty() {
        for row in db.ask(HELD_BY_ID, vec![Box::new(successors)]).await? {
            let held = held(&row)?;
            found.insert(held.id, held);
        }
    }
    Ok(found)
}

async fn ask_candidates(
    db: &impl Statements,
    question: &'static str,
    asking: &[(&RegisterCommand, KeyNumber)],
) -> Result<Candidates, Failed> {
    let places: Vec<i32> = (0..).take(asking.len()).collect();
    let keys: Vec<i64> = asking.iter().map(|(_, key)| key.0).collect();
    let machines: Vec<Uuid> = asking.iter().map(|(command, _)| machine_uuid(&command.machine)).collect();
    let hardware: Vec<Option<Uuid>> =
        asking.iter().map(|(command, _)| command.hardware.as_ref().map(machine_uuid)).collect();
    let values: super::apply::Values<'_> =
        vec![Box::new(places), Box::new(keys), Box::new(machines), Box::new(hardware)];
    let mut found = Candidates::new();
    for row in db.ask(question, values).await? {
        let (place, row) = candidate(&row)?;
        let Some((command, _)) = asking.get(place) else { continue };
        let rows = found.entry(command.id).or_default();
        if rows.iter().all(|one| one.candidate.id != row.candidate.id) {
            rows.push(row);
        }
    }
    Ok(found)
}

/// A PUT of a new id and a DELETE of the same id must not pass each other, on whatever nodes: neither would see what the other
/// has not yet committed. So each takes its id's place, the DELETE for itself alone. PUTs do not wait for one another.
async fn lock_places(db: &impl Statements, wanted: &Wanted<'_>, known: &HashSet<RegistrationId>) -> Result<(), Failed> {
    let mut places: HashMap<i32, bool> = HashMap::new();
    for command in wanted.commands.iter().filter(|command| !known.contains(&command.id)) {
        places.entry(place(&command.id)).or_insert(false);
    }
    for id in wanted.deleted.iter().filter(|id| !known.contains(id)) {
        places.insert(place(id), true);
    }
    if places.is_empty() {
        return Ok(());
    }
    let mut places: Vec<(i32, bool)> = places.into_iter().collect();
    places.sort_unstable();
    let (places, alone): (Vec<i32>, Vec<bool>) = places.into_iter().unzip();
    db.ask(LOCK_PLACES, vec![Box::new(super::LOCKS_OF_PLACES), Box::new(places), Box::new(alone)]).await.map(drop)
}

/// One of 256. The last byte of a version-4 UUID is random.
fn place(id: &RegistrationId) -> i32 {
    i32::from(id.as_bytes()[15])
}

const SECRETS: &str = "SELECT hash, key, until FROM secrets WHERE hash = ANY ($1::bytea[])";
const KEYS_OF_IDS: &str = "SELECT id, key FROM registrations WHERE id = ANY ($1::uuid[])";
const LOCK_PLACES: &str = "SELECT CASE WHEN alone THEN pg_advisory_xact_lock($1, place)::text
    ELSE pg_advisory_xact_lock_shared($1, place)::text END FROM unnest($2::int4[], $3::bool[]) AS x (place, alone)";
const EARLY: &str = "SELECT id, token_hash, at FROM early_releases WHERE id = ANY ($1::uuid[])";
const DISTRUSTED: &str = "SELECT key, kind, id FROM distrusted WHERE key = ANY ($1::int8[]) AND id = ANY ($2::uuid[])";
const LOCK_KEYS: &str = concat!(
    "SELECT ",
    key_columns!(),
    " FROM keys k WHERE k.number = ANY ($1::int8[]) ORDER BY k.number FOR NO KEY UPDATE"
);
const HELD_BY_ID: &str = concat!("SELECT ", held_columns!(), " FROM registrations r WHERE r.id = ANY ($1::uuid[])");
/// Three of each: two to compare, and one to know that there are more.
const CANDIDATES: &str = "SELECT q.place, c.id, c.machine, c.hardware, c.label,
        (SELECT s.id FROM registrations s WHERE s.state = 'superseded' AND s.successor = c.id)
    FROM unnest($1::int4[], $2::int8[], $3::uuid[], $4::uuid[]) AS q (place, key, machine, hardware)
    CROSS JOIN LATERAL (
        (SELECT r.id, r.machine, r.hardware, r.label FROM registrations r
         WHERE r.key = q.key AND r.state = 'active' AND r.machine = q.machine LIMIT 3)
        UNION ALL
        (SELECT r.id, r.machine, r.hardware, r.label FROM registrations r
         WHERE r.key = q.key AND r.state = 'active' AND r.hardware = q.hardware LIMIT 3)) c";
const CANDIDATES_OF_EACH_KIND: &str = "SELECT q.place, c.id, c.machine, c.hardware, c.label,
        (SELECT s.id FROM registrations s WHERE s.state = 'superseded' AND s.successor = c.id)
    FROM unnest($1::int4[], $2::int8[], $3::uuid[], $4::uuid[]) AS q (place, key, machine, hardware)
    CROSS JOIN LATERAL (
        (SELECT r.id, r.machine, r.hardware, r.label FROM registrations r
         WHERE r.key = q.key AND r.state = 'active' AND r.machine = q.machine AND r.hardware = q.hardware LIMIT 3)
        UNION ALL
        (SELECT r.id, r.machine, r.hardware, r.label FROM registrations r
         WHERE r.key = q.key AND r.state = 'active' AND r.machine = q.machine AND r.hardware IS NULL LIMIT 3)
        UNION ALL
        (SELECT r.id, r.machine, r.hardware, r.label FROM registrations r
         WHERE r.key = q.key AND r.state = 'active' AND r.hardware = q.hardware AND r.machine < q.machine LIMIT 3)
        UNION ALL
        (SELECT r.id, r.machine, r.hardware, r.label FROM registrations r
         WHERE r.key = q.key AND r.state = 'active' AND r.hardware = q.hardware AND r.machine > q.machine LIMIT 3)) c";
