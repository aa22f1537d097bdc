//! Rows as every database has them, and the texts that are stored in them.
//!
//! Owns the shapes that are read. Knows no SQL and no rule.

use std::net::IpAddr;

use els_protocol::wire::{Os, Seats};
use els_protocol::{Label, MachineId, RegistrationId, Sha256Hex, Timestamp};

use crate::outcome::{RegistrationView, SeatPage};
use crate::rules::{
    Candidate, KeyState, KeyTerms, MatchRule, Pause, RegistrationState, SUPERSEDED_IDS, SUPERSEDED_SECONDS,
};
use crate::{CredentialState, Holder, KeyId, KeyNumber, Policy};

/// A key, as far as seats depend on it.
#[derive(Debug, Clone)]
pub(super) struct KeyRow {
    pub(super) number: KeyNumber,
    pub(super) id: KeyId,
    pub(super) product: String,
    pub(super) contract: Option<String>,
    pub(super) seats: Seats,
    pub(super) self_release: bool,
    /// The terms, without the grace of this site.
    pub(super) terms: KeyTerms,
}

impl KeyRow {
    /// The terms, with the grace of this site.
    pub(super) fn terms(&self, policy: &Policy) -> KeyTerms {
        KeyTerms { grace_seconds: policy.grace_seconds, ..self.terms }
    }

    /// When it expires.
    pub(super) fn expires(&self) -> Timestamp {
        self.terms.expires
    }

    /// One page of the key's seats, out of `found`, which has one more than `limit` where there is another page.
    pub(super) fn page(self, mut found: Vec<Holder>, limit: u32) -> SeatPage {
        let next = if found.len() > limit as usize {
            found.truncate(limit as usize);
            found.last().map(|last| last.registration)
        } else {
            None
        };
        let (expires, revoked) = (self.expires(), self.terms.state == KeyState::Revoked);
        let KeyRow { id: key_id, product, seats, .. } = self;
        SeatPage { key_id, product, expires, revoked, seats, registrations: found, next }
    }

    /// A registration as its machine sees it.
    pub(super) fn view(&self, id: RegistrationId, registered_at: Timestamp) -> RegistrationView {
        RegistrationView {
            registration: id,
            key_id: self.id.clone(),
            contract: self.contract.clone(),
            product: self.product.clone(),
            expires: self.expires(),
            registered_at,
            until: None,
            seats: self.seats,
        }
    }
}

/// A registration, as far as seats depend on it.
#[derive(Debug, Clone)]
pub(super) struct RegistrationRow {
    pub(super) id: RegistrationId,
    pub(super) key: KeyNumber,
    pub(super) token_hash: Sha256Hex,
    pub(super) state: RegistrationState,
    pub(super) machine: Option<MachineId>,
    pub(super) hardware: Option<MachineId>,
    pub(super) os: Os,
    pub(super) arch: String,
    pub(super) label: Option<Label>,
    pub(super) registered_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) successor: Option<RegistrationId>,
    pub(super) rule: Option<MatchRule>,
}

impl RegistrationRow {
    /// When it was superseded, if it is.
    pub(super) fn superseded_at(&self) -> Option<Timestamp> {
        self.ended_at.filter(|_| self.state == RegistrationState::Superseded)
    }
}

/// An active registration that could be the same machine, and what goes with its seat.
#[derive(Debug, Clone)]
pub(super) struct CandidateRow {
    pub(super) id: RegistrationId,
    pub(super) machine: MachineId,
    pub(super) hardware: Option<MachineId>,
    pub(super) hardware_distrusted: bool,
    pub(super) registered_at: Timestamp,
    pub(super) label: Option<Label>,
    /// How many registrations it has superseded.
    pub(super) superseded: usize,
    /// Of these, the one that was superseded first.
    pub(super) oldest: Option<OldestSuperseded>,
}

/// The registration of a seat that was superseded first.
#[derive(Debug, Clone)]
pub(super) struct OldestSuperseded {
    pub(super) id: RegistrationId,
    pub(super) since: Timestamp,
    pub(super) machine: Option<MachineId>,
    pub(super) hardware: Option<MachineId>,
}

impl CandidateRow {
    /// As the rules compare it.
    pub(super) fn candidate(&self, now: Timestamp) -> Candidate {
        // Where the oldest is within its hour, all are.
        let hour_ends = self.oldest.as_ref().map(|oldest| oldest.since.plus_seconds(SUPERSEDED_SECONDS));
        Candidate {
            id: self.id,
            machine: self.machine,
            hardware: self.hardware,
            hardware_distrusted: self.hardware_distrusted,
            registered_at: self.registered_at,
            room_at: hour_ends.filter(|ends| self.superseded >= SUPERSEDED_IDS && now < *ends),
        }
    }
}

/// A superseded registration that shares an id with another one, and which of its ids the key distrusts already.
#[derive(Debug, Clone)]
pub(super) struct SupersededRow {
    pub(super) row: RegistrationRow,
    pub(super) machine_distrusted: bool,
    pub(super) hardware_distrusted: bool,
}

/// Each of `found` once, the oldest first.
pub(super) fn oldest_first(mut found: Vec<SupersededRow>) -> Vec<SupersededRow> {
    found.sort_by_key(|one| (one.row.registered_at, one.row.id));
    found.dedup_by_key(|one| one.row.id);
    found
}

/// A time in which a key denied its machines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) reason: RefusalReason,
    pub(super) since: Timestamp,
    /// `None` while it lasts.
    pub(super) until: Option<Timestamp>,
}

/// Why a key denied its machines for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalReason {
    Suspended,
    /// Its grace, which is the site's, comes on top of `since`.
    Expired,
}

impl RefusalReason {
    /// As it is stored.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            RefusalReason::Suspended => "suspended",
            RefusalReason::Expired => "expired",
        }
    }

    /// Reads what [`RefusalReason::as_str`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        [RefusalReason::Suspended, RefusalReason::Expired].into_iter().find(|one| one.as_str() == text)
    }
}

/// The times until now in which a superseded credential could not be used: the gate was down (`downs`), or the key denied its
/// machines.
pub(super) fn pauses(now: Timestamp, terms: &KeyTerms, downs: &[Pause], refusals: &[Refusal]) -> Vec<Pause> {
    let expired = Refusal { reason: RefusalReason::Expired, since: terms.expires, until: None };
    let refused = refusals.iter().chain([&expired]).map(|refusal| {
        let grace = if refusal.reason == RefusalReason::Expired { terms.grace_seconds } else { 0 };
        (refusal.since.plus_seconds(grace), refusal.until.unwrap_or(now))
    });
    downs.iter().copied().chain(refused).filter(|(since, until)| since < until).collect()
}

/// Which kind of id a key distrusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum IdKind {
    Machine,
    Hardware,
}

impl IdKind {
    /// As it is stored.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            IdKind::Machine => "machine",
            IdKind::Hardware => "hardware",
        }
    }

    /// Reads what [`IdKind::as_str`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        [IdKind::Machine, IdKind::Hardware].into_iter().find(|one| one.as_str() == text)
    }
}

/// What a registration's state means for its credential; `None` where the time that goes with it is missing.
pub(super) fn credential_state(state: RegistrationState, ended_at: Option<Timestamp>) -> Option<CredentialState> {
    match state {
        RegistrationState::Active => Some(CredentialState::Active),
        RegistrationState::Superseded => ended_at.map(CredentialState::Superseded),
        RegistrationState::Released => Some(CredentialState::Released),
    }
}

/// As it is stored.
pub(super) fn key_state_text(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::Suspended => "suspended",
        KeyState::Revoked => "revoked",
    }
}

/// Reads what [`key_state_text`] wrote.
pub(super) fn key_state(text: &str) -> Option<KeyState> {
    [KeyState::Active, KeyState::Suspended, KeyState::Revoked].into_iter().find(|one| key_state_text(*one) == text)
}

/// Reads the state of a registration.
pub(super) fn registration_state(text: &str) -> Option<RegistrationState> {
    match text {
        "active" => Some(RegistrationState::Active),
        "superseded" => Some(RegistrationState::Superseded),
        "released" => Some(RegistrationState::Released),
        _ => None,
    }
}

/// As it is stored, in the audit log too.
pub(super) fn match_rule_text(rule: MatchRule) -> &'static str {
    match rule {
        MatchRule::SameMachineAndHardware => "same machine and hardware id",
        MatchRule::SameMachineMoved => "same machine id, said to be moved",
        MatchRule::SameMachineOnly => "same machine id, hardware id absent",
        MatchRule::SameHardwareOnly => "same hardware id, other machine id",
    }
}

/// Reads what [`match_rule_text`] wrote.
pub(super) fn match_rule(text: &str) -> Option<MatchRule> {
    [
        MatchRule::SameMachineAndHardware,
        MatchRule::SameMachineMoved,
        MatchRule::SameMachineOnly,
        MatchRule::SameHardwareOnly,
    ]
    .into_iter()
    .find(|one| match_rule_text(*one) == text)
}

/// What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets.
pub(super) fn client_group(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Seconds from now to the end of a lease. One that is given up is over already: leases end with a whole second.
pub(super) fn lease_seconds(seconds: u32) -> i64 {
    if seconds == 0 { -1 } else { i64::from(seconds) }
}

/// A pattern for LIKE, with `\` as its escape, that finds `text` anywhere.
pub(super) fn like_anywhere(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

/// `sentence` with each `{}` replaced by the next value.
pub(super) fn fill(sentence: &str, values: &[String]) -> String {
    let mut values = values.iter();
    let mut parts = sentence.split("{}");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(values.next().map_or("", String::as_str));
        text.push_str(part);
    }
    text
}

/// A machine that was not seen after this moment has been unseen for `days`. Time in which the gate was down does not
/// count: `downs` are those times, (since, until), the latest first.
pub(super) fn unseen_since(
    now: Timestamp,
    days: u32,
    downs: impl IntoIterator<Item = (Timestamp, Timestamp)>,
) -> Timestamp {
    let mut left = i64::from(days) * 24 * 3600;
    let mut at = now.unix();
    for (since, until) in downs {
        let up = (at - until.unix()).max(0);
        if left <= up {
            break;
        }
        left -= up;
        at = at.min(since.unix());
    }
    Timestamp::from_unix(at - left)
}

/// Seconds for which an early release is remembered.
pub(super) const REMEMBERED_SECONDS: i64 = 24 * 3600;
/// Early releases of one client that are remembered: more than the answers that a site behind one address loses in a day,
/// and few enough to keep.
pub(super) const REMEMBERED_PER_CLIENT: u32 = 1024;
/// Seconds after its release in which a registration's machine and hardware ids are kept.
pub(super) const ERASE_SECONDS: i64 = 90 * 24 * 3600;
/// Seconds without a call of `gate_is_up` after which the gate was down: three calls are missing.
pub(super) const GAP_SECONDS: i64 = 180;
/// Seconds between two searches for unseen machines. Their limits are days, so that once an hour is enough.
pub(super) const SEARCH_SECONDS: i64 = 3600;
/// Last-seen times that are written at once.
pub(super) const SEEN_BATCH: usize = 500;
/// The largest number of rows in one batch of upkeep; a job runs batches until one is smaller.
pub(super) const UPKEEP_BATCH: usize = 200;
