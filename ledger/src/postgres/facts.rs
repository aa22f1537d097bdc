//! Reading the facts of many calls at once, in the transaction of their batch.
//!
//! Owns the statements and the order of locks: slots of ids first, then keys, each in its order, so that no two batches, on
//! whatever nodes, wait for each other in a circle. Knows no rule.

use std::collections::{BTreeMap, HashMap, HashSet};

use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};
use futures_util::future::try_join4;
use tokio_postgres::Row;
use uuid::Uuid;

use super::client::Statements;
use super::failure::Failed;
use super::row::{Columns, candidate, key, key_columns, machine_uuid, registration, registration_columns, uuid};
use crate::KeyNumber;
use crate::rows::{CandidateRow, IdKind, KeyRow, REMEMBERED_SECONDS, RegistrationRow};
use crate::rules::{Distrust, RegisterCommand};

/// What was read for a batch, and is true until its transaction ends.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) keys: HashMap<KeyNumber, KeyRow>,
    pub(super) registrations: HashMap<RegistrationId, RegistrationRow>,
    secrets: HashMap<Sha256Hex, (KeyNumber, Option<Timestamp>)>,
    early: Vec<(RegistrationId, Sha256Hex, Timestamp)>,
    distrusted: HashSet<(KeyNumber, IdKind, MachineId)>,
    candidates: Candidates,
}

/// For each id that is asked for, those that could be the same machine.
type Candidates = HashMap<RegistrationId, Vec<CandidateRow>>;

/// What a batch needs to know.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    /// Registrations.
    pub(super) commands: Vec<&'a RegisterCommand>,
    /// Keys that are presented.
    pub(super) secrets: Vec<Sha256Hex>,
    /// Ids that are named, those of `commands` among them.
    pub(super) ids: Vec<RegistrationId>,
    /// Of these, those that an unregister names: they may never have been seen.
    pub(super) unregistered: Vec<RegistrationId>,
}

impl Facts {
    /// Reads what is wanted, and locks what it depends on. All questions are sent at once; the server answers them in their
    /// order, each with what is true after the locks before it.
    pub(super) async fn read(db: &impl Statements, wanted: &Wanted<'_>) -> Result<Self, Failed> {
        db.prepare(QUESTIONS).await?;
        let ids: Vec<Uuid> = wanted.ids.iter().map(uuid).collect();
        let secrets: Vec<Vec<u8>> = wanted.secrets.iter().map(|secret| secret.0.to_vec()).collect();
        let (_, keys, secrets, (known, early, distrusted, found)) = try_join4(
            lock_slots(db, wanted),
            db.ask(LOCK_KEYS, vec![Box::new(secrets.clone()), Box::new(ids.clone())]),
            db.ask(SECRETS, vec![Box::new(secrets)]),
            try_join4(
                db.ask(REGISTRATIONS, vec![Box::new(ids.clone())]),
                db.ask(EARLY, vec![Box::new(ids)]),
                ask_distrusted(db, &wanted.commands),
                ask_candidates(db, CANDIDATES, &wanted.commands),
            ),
        )
        .await?;
        let mut facts = Facts { candidates: found, ..Facts::default() };
        for row in &keys {
            let key = key(row)?;
            facts.keys.insert(key.number, key);
        }
        for row in &secrets {
            let row = Columns(row);
            facts.secrets.insert(row.hash(0)?, (KeyNumber(row.get(1)?), row.optional_time(2)?));
        }
        for row in &early {
            let row = Columns(row);
            facts.early.push((row.id(0)?, row.hash(1)?, row.time(2)?));
        }
        for row in &distrusted {
            let row = Columns(row);
            let kind =
                IdKind::parse(row.get(1)?).ok_or_else(|| Failed::invalid("an id of a kind that is not known"))?;
            let id = row.machine_id(2)?.ok_or_else(|| Failed::invalid("a distrusted id that is none"))?;
            facts.distrusted.insert((KeyNumber(row.get(0)?), kind, id));
        }
        facts.add_registrations(&known)?;
        facts.read_successors(db).await?;
        facts.read_more_candidates(db, &wanted.commands).await?;
        Ok(facts)
    }

    /// The key that a secret stands for at this time.
    pub(super) fn key_by_secret(&self, now: Timestamp, secret: &Sha256Hex) -> Option<&KeyRow> {
        let (number, until) = self.secrets.get(secret)?;
        self.keys.get(number).filter(|_| until.is_none_or(|until| until > now))
    }

    /// Whether there was an early release of this id and token within the last day.
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

    fn add_registrations(&mut self, rows: &[Row]) -> Result<(), Failed> {
        for row in rows {
            let row = registration(row)?;
            self.registrations.insert(row.id, row);
        }
        Ok(())
    }

    /// What superseded registrations were superseded by.
    async fn read_successors(&mut self, db: &impl Statements) -> Result<(), Failed> {
        let successors: Vec<Uuid> =
            self.registrations.values().filter_map(|row| row.successor.as_ref()).map(uuid).collect();
        if successors.is_empty() {
            return Ok(());
        }
        let rows = db.ask(REGISTRATIONS, vec![Box::new(successors)]).await?;
        self.add_registrations(&rows)
    }

    /// Where many share an id, a few of each kind are as good to the rules as all of them, but each kind has to be there.
    async fn read_more_candidates(
        &mut self,
        db: &impl Statements,
        commands: &[&RegisterCommand],
    ) -> Result<(), Failed> {
        let is_crowded = |id| self.candidates.get(id).is_some_and(|found| found.len() > 2);
        let crowded: Vec<&RegisterCommand> =
            commands.iter().filter(|command| is_crowded(&command.id)).copied().collect();
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

/// Which ids of the machines that register are distrusted by their keys: key, kind, id.
async fn ask_distrusted(db: &impl Statements, asking: &[&RegisterCommand]) -> Result<Vec<Row>, Failed> {
    let ids = asking.iter().flat_map(|command| {
        let hardware = command.hardware.as_ref().map(|id| (command.key_hash, IdKind::Hardware, id));
        std::iter::once((command.key_hash, IdKind::Machine, &command.machine)).chain(hardware)
    });
    let (mut hashes, mut kinds, mut named): (Vec<Vec<u8>>, Vec<&'static str>, Vec<Uuid>) = Default::default();
    for (hash, kind, id) in ids {
        hashes.push(hash.0.to_vec());
        kinds.push(kind.as_str());
        named.push(machine_uuid(id));
    }
    db.ask(DISTRUSTED, vec![Box::new(hashes), Box::new(kinds), Box::new(named)]).await
}

/// For each registration of a new id, those that could be the same machine.
async fn ask_candidates(
    db: &impl Statements,
    question: &'static str,
    asking: &[&RegisterCommand],
) -> Result<Candidates, Failed> {
    if asking.is_empty() {
        return Ok(Candidates::new());
    }
    let places: Vec<i32> = (0..).take(asking.len()).collect();
    let values: super::client::Values<'_> = vec![
        Box::new(places),
        Box::new(asking.iter().map(|command| uuid(&command.id)).collect::<Vec<_>>()),
        Box::new(asking.iter().map(|command| command.key_hash.0.to_vec()).collect::<Vec<_>>()),
        Box::new(asking.iter().map(|command| machine_uuid(&command.machine)).collect::<Vec<_>>()),
        Box::new(asking.iter().map(|command| command.hardware.as_ref().map(machine_uuid)).collect::<Vec<_>>()),
    ];
    let mut found = Candidates::new();
    for row in db.ask(question, values).await? {
        let (place, row) = candidate(&row)?;
        let Some(command) = asking.get(place) else { continue };
        let rows = found.entry(command.id).or_default();
        if rows.iter().all(|one| one.candidate.id != row.candidate.id) {
            rows.push(row);
        }
    }
    Ok(found)
}

/// Registering and unregistering the same new id must not overtake each other, on whatever nodes: neither would see what the
/// other has not committed yet. So each locks the slot of its id: unregistering alone, registering together with others.
async fn lock_slots(db: &impl Statements, wanted: &Wanted<'_>) -> Result<(), Failed> {
    let mut slots: BTreeMap<i32, bool> = wanted.commands.iter().map(|command| (slot(&command.id), false)).collect();
    slots.extend(wanted.unregistered.iter().map(|id| (slot(id), true)));
    if slots.is_empty() {
        return Ok(());
    }
    let (slots, alone): (Vec<i32>, Vec<bool>) = slots.into_iter().unzip();
    db.ask(LOCK_SLOTS, vec![Box::new(super::LOCKS_OF_SLOTS), Box::new(slots), Box::new(alone)]).await.map(drop)
}

/// One of 256. The last byte of a version-4 UUID is random.
fn slot(id: &RegistrationId) -> i32 {
    i32::from(id.as_bytes()[15])
}

/// Those that are sent at once.
const QUESTIONS: &[&str] = &[LOCK_SLOTS, LOCK_KEYS, SECRETS, REGISTRATIONS, EARLY, DISTRUSTED, CANDIDATES];
const LOCK_SLOTS: &str = "SELECT CASE WHEN alone THEN pg_advisory_xact_lock($1, slot)::text
    ELSE pg_advisory_xact_lock_shared($1, slot)::text END FROM unnest($2::int4[], $3::bool[]) AS x (slot, alone)";
// OFFSET 0 keeps the parts of a question apart: each is asked for the rows that the one before it has found, by an index, and is
// never joined the other way round, whatever the tables looked like when the plan was made.
const LOCK_KEYS: &str = concat!(
    "SELECT ",
    key_columns!(),
    " FROM (SELECT u.key FROM (SELECT key FROM secrets WHERE hash = ANY ($1::bytea[])
            UNION SELECT key FROM registrations WHERE id = ANY ($2::uuid[])) u ORDER BY u.key OFFSET 0) w
     CROSS JOIN LATERAL (SELECT * FROM keys WHERE number = w.key FOR NO KEY UPDATE) k"
);
const SECRETS: &str = "SELECT hash, key, until FROM secrets WHERE hash = ANY ($1::bytea[])";
const REGISTRATIONS: &str =
    concat!("SELECT ", registration_columns!(), " FROM registrations r WHERE r.id = ANY ($1::uuid[])");
const EARLY: &str = "SELECT id, token_hash, at FROM early_releases WHERE id = ANY ($1::uuid[])";
const DISTRUSTED: &str =
    "SELECT s.key, q.kind, q.id FROM unnest($1::bytea[], $2::text[], $3::uuid[]) AS q (hash, kind, id)
    CROSS JOIN LATERAL (SELECT key FROM secrets WHERE hash = q.hash OFFSET 0) s
    CROSS JOIN LATERAL (SELECT FROM distrusted WHERE key = s.key AND kind = q.kind AND id = q.id OFFSET 0) d";

/// One kind of those that could be the same machine: three, two to compare and one to know that there are more.
macro_rules! some_active {
    ($condition:literal) => {
        concat!(
            "(SELECT r.id, r.machine, r.hardware, r.label FROM registrations r
              WHERE r.key = s.key AND r.state = 'active' AND ",
            $condition,
            " LIMIT 3)"
        )
    };
}
/// All kinds that are named, of each registration whose id is new.
macro_rules! candidates {
    ($first:literal $(, $more:literal)*) => {
        concat!(
            "SELECT q.place, c.id, c.machine, c.hardware, c.label,
                (SELECT o.id FROM registrations o WHERE o.state = 'superseded' AND o.successor = c.id)
             FROM unnest($1::int4[], $2::uuid[], $3::bytea[], $4::uuid[], $5::uuid[]) AS q (place, id, hash, machine, hardware)
             CROSS JOIN LATERAL (SELECT key FROM secrets WHERE hash = q.hash OFFSET 0) s CROSS JOIN LATERAL (",
            some_active!($first)
            $(, " UNION ALL ", some_active!($more))*,
            ") c WHERE (SELECT true FROM registrations o WHERE o.id = q.id) IS NULL"
        )
    };
}
const CANDIDATES: &str = candidates!("r.machine = q.machine", "r.hardware = q.hardware");
const CANDIDATES_OF_EACH_KIND: &str = candidates!(
    "r.machine = q.machine AND r.hardware = q.hardware",
    "r.machine = q.machine AND r.hardware IS NULL",
    "r.hardware = q.hardware AND r.machine < q.machine",
    "r.hardware = q.hardware AND r.machine > q.machine"
);
