//! A model of the whole life of a key: what a store does has to be what the model does, step by step.
//!
//! Owns the rules once more, written down from docs/seats.md in the plainest form. It shares no code with the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use els_ledger::rules::{KeyState, RegistrationState};
use els_ledger::{How, KeyChange, KeyId, NewKey, Rotation};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::*;

/// Promise: seat-match-rules
/// Promise: seat-two-alive
/// Promise: seat-superseded-hour
/// Promise: seat-distrusted
pub(crate) async fn the_whole_life_of_a_key_is_as_in_the_model(store: Arc<dyn Store>) {
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (keys, seen) = (AtomicU32::new(0), std::sync::Mutex::new(BTreeMap::new()));
    let handle = tokio::runtime::Handle::current();
    let ran = tokio::task::block_in_place(|| {
        runner.run(&(1..6_u64, vec(step(), 1..70)), |(seats, steps)| {
            let number = keys.fetch_add(1, Ordering::Relaxed);
            handle.block_on(live(&store, number, seats, &steps, &seen))
        })
    });
    ran.unwrap();
    let seen = seen.into_inner().unwrap();
    for kind in [
        "created",
        "moved",
        "confirmed",
        "superseded",
        "own seat",
        "holder's seat",
        "used in vain",
        "unused",
        "KeyFull",
        "KeyExpired",
        "KeySuspended",
        "UnknownKey",
        "RegistrationReleased",
        "RegistrationConflict",
        "forgotten",
    ] {
        assert!(seen.contains_key(kind), "no life had {kind}: {seen:?}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(i64),
    Put { machine: u32, hardware: u32, moved: bool, old_key: bool },
    PutAgain { which: usize, hardware: u32, other_machine: bool, moved: bool },
    Use(usize),
    Get(usize),
    Unregister(usize),
    Release(usize),
    Resize(u64),
    Suspend(bool),
    Renew(i64),
    Rotate(Option<i64>),
    TrustAgain,
    Upkeep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop_oneof![Just(600), Just(HOUR), Just(DAY), Just(5 * DAY), Just(36 * DAY)].prop_map(Step::Wait),
        9 => (0..3_u32, 0..3_u32, prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(machine, hardware, moved, old_key)| Step::Put { machine, hardware, moved, old_key }),
        3 => (0..9_usize, 0..3_u32, prop::bool::weighted(0.1), prop::bool::weighted(0.2)).prop_map(
            |(which, hardware, other_machine, moved)| Step::PutAgain { which, hardware, other_machine, moved }
        ),
        5 => (0..9_usize).prop_map(Step::Use),
        2 => (0..9_usize).prop_map(Step::Get),
        1 => (0..9_usize).prop_map(Step::Unregister),
        1 => (0..9_usize).prop_map(Step::Release),
        1 => (1..7_u64).prop_map(Step::Resize),
        1 => prop::bool::weighted(0.3).prop_map(Step::Suspend),
        1 => (1..200_i64).prop_map(Step::Renew),
        1 => prop_oneof![Just(None), Just(Some(2 * DAY))].prop_map(Step::Rotate),
        1 => Just(Step::TrustAgain),
        2 => Just(Step::Upkeep),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Active,
    /// Since when, by which registration, and by which of its ids (machine, hardware); seconds that count for its end.
    Superseded {
        since: i64,
        by: u32,
        ids: (bool, bool),
        counted: i64,
    },
    Released,
}

#[derive(Debug, Clone)]
struct Known {
    machine: u32,
    hardware: u32,
    registered: i64,
    state: State,
}

struct Model {
    now: i64,
    total: u64,
    expires: i64,
    suspended: bool,
    /// The name of each secret, the newest last, and until when it counts.
    secrets: Vec<(String, Option<i64>)>,
    known: BTreeMap<u32, Known>,
    /// (is hardware, number)
    distrusted: BTreeSet<(bool, u32)>,
    happened: Vec<&'static str>,
}

const GRACE: i64 = 10 * DAY;
const UNUSED: i64 = 35 * DAY;

impl Model {
    fn wait(&mut self, seconds: i64) {
        let counts = match self.suspended {
            true => 0,
            false => (self.now + seconds).min(self.expires + GRACE) - self.now,
        };
        for one in self.known.values_mut() {
            if let State::Superseded { counted, .. } = &mut one.state {
                *counted += counts.max(0);
            }
        }
        self.now += seconds;
    }

    fn denies(&self) -> Option<Denied> {
        match self.suspended {
            true => Some(Denied::KeySuspended),
            false => (self.now >= self.expires + GRACE).then_some(Denied::KeyExpired),
        }
    }

    fn active(&self) -> impl Iterator<Item = (u32, &Known)> {
        self.known.iter().filter(|(_, one)| one.state == State::Active).map(|(id, one)| (*id, one))
    }

    fn used(&self) -> u64 {
        self.active().count() as u64
    }

    fn set(&mut self, id: u32, state: State) {
        self.known.get_mut(&id).unwrap().state = state;
    }

    /// An id is distrusted until nothing has it.
    fn forget(&mut self) {
        let known = &self.known;
        let before = self.distrusted.len();
        self.distrusted.retain(|(is_hardware, number)| {
            known.values().filter(|one| one.state != State::Released).any(|one| match is_hardware {
                true => one.hardware == *number,
                false => one.machine == *number,
            })
        });
        if self.distrusted.len() < before {
            self.happened.push("forgotten");
        }
    }

    fn followers(&self, holder: u32) -> Vec<(u32, i64)> {
        let mut found = Vec::new();
        for (id, one) in &self.known {
            if let State::Superseded { since, by, .. } = one.state
                && by == holder
            {
                found.push((*id, since));
            }
        }
        found.sort_by_key(|(_, since)| *since);
        found
    }

    fn follow(&mut self, from: u32, to: u32) {
        for one in self.known.values_mut() {
            if let State::Superseded { by, .. } = &mut one.state
                && *by == from
            {
                *by = to;
            }
        }
    }

    fn is_full(&self, holder: u32) -> bool {
        self.followers(holder).iter().filter(|(_, since)| self.now < since + HOUR).count() >= 16
    }

    /// By which rule and ids an active registration is the same machine.
    fn rule(&self, machine: u32, hardware: u32, moved: bool, one: &Known) -> Option<(u8, (bool, bool))> {
        let trusted = |hardware| hardware != 0 && !self.distrusted.contains(&(true, hardware));
        let machines = machine == one.machine && !self.distrusted.contains(&(false, machine));
        match (machines, trusted(hardware) && trusted(one.hardware), hardware == one.hardware) {
            (true, true, true) => Some((1, (true, true))),
            (true, false, _) => Some((2, (true, false))),
            (true, true, false) if moved => Some((3, (true, false))),
            (false, true, true) => Some((4, (false, true))),
            _ => None,
        }
    }

    fn put_new(
        &mut self,
        id: u32,
        machine: u32,
        hardware: u32,
        moved: bool,
    ) -> Result<(How, Option<u32>), &'static str> {
        let fits: Vec<(u32, u8, (bool, bool))> = self
            .active()
            .filter_map(|(id, one)| self.rule(machine, hardware, moved, one).map(|(rule, ids)| (id, rule, ids)))
            .collect();
        let first = fits.iter().map(|(_, rule, _)| *rule).min();
        let mut fits: Vec<_> = fits.into_iter().filter(|(_, rule, _)| Some(*rule) == first).collect();
        if fits.len() > 1 {
            let seen = |hardware: u32| if self.distrusted.contains(&(true, hardware)) { 0 } else { hardware };
            fits.retain(|(id, rule, _)| *rule < 4 && seen(self.known[id].hardware) == seen(hardware));
        }
        let is_crowded = !fits.is_empty();
        fits.retain(|(id, ..)| !self.is_full(*id));
        let new = Known { machine, hardware, registered: self.now, state: State::Active };
        if let Some((from, _, ids)) = fits.into_iter().max_by_key(|(id, ..)| (self.known[id].registered, *id)) {
            let followers = self.followers(from);
            if followers.len() >= 16 {
                self.set(followers[0].0, State::Released);
            }
            self.follow(from, id);
            self.set(from, State::Superseded { since: self.now, by: id, ids, counted: 0 });
            self.known.insert(id, new);
            self.forget();
            return Ok((How::Moved, Some(from)));
        }
        if self.now < self.expires && self.used() < self.total {
            self.known.insert(id, new);
            return Ok((How::Created, None));
        }
        Err(match (is_crowded, self.now < self.expires) {
            (true, _) => "MovedTooOften",
            (_, false) => "KeyExpired",
            _ => "KeyFull",
        })
    }

    fn use_of(&mut self, id: u32) {
        let State::Superseded { since, by, ids, .. } = self.known[&id].state else { return };
        if self.denies().is_some() || self.now < since + HOUR {
            return;
        }
        let old = self.known[&id].clone();
        let shared: Vec<(bool, u32)> = [(ids.0, (false, old.machine)), (ids.1, (true, old.hardware))]
            .iter()
            .filter(|one| one.0)
            .map(|one| one.1)
            .collect();
        self.distrusted.extend(shared.iter().copied());
        let mut same: Vec<u32> = Vec::new();
        for (id, one) in &self.known {
            let State::Superseded { ids, .. } = one.state else { continue };
            let (machine, hardware) = ((false, one.machine), (true, one.hardware));
            let shares = shared.contains(&machine) || shared.contains(&hardware);
            let trusts = |by, id: (bool, u32)| by && !self.distrusted.contains(&id);
            if shares && !trusts(ids.0, machine) && !trusts(ids.1, hardware) {
                same.push(*id);
            }
        }
        same.sort_by_key(|id| (self.known[id].registered, *id));
        let free = self.total.saturating_sub(self.used());
        for id in same.into_iter().take(usize::try_from(free).unwrap()) {
            self.set(id, State::Active);
        }
        let holder = self.known.get(&by).filter(|one| one.state == State::Active);
        if self.known[&id].state == State::Active {
            self.happened.push("own seat");
        } else if holder.is_some_and(|holder| self.now < since + DAY && old.registered <= holder.registered) {
            self.happened.push("holder's seat");
            self.set(by, State::Released);
            self.set(id, State::Active);
            self.follow(by, id);
        } else {
            self.happened.push("used in vain");
            self.set(id, State::Released);
        }
        self.forget();
    }

    fn release_unused(&mut self) {
        if self.denies().is_some() {
            return;
        }
        for one in self.known.values_mut() {
            if matches!(one.state, State::Superseded { counted, .. } if counted >= UNUSED) {
                one.state = State::Released;
                self.happened.push("unused");
            }
        }
        self.forget();
    }
}

/// One life, on a key of its own.
async fn live(
    store: &Arc<dyn Store>,
    number: u32,
    seats: u64,
    steps: &[Step],
    seen: &std::sync::Mutex<BTreeMap<String, u32>>,
) -> Result<(), TestCaseError> {
    let name = format!("life{number}");
    let key = KeyId::parse(&name).unwrap();
    let expires = 120 * DAY;
    make(store, NewKey { expires: at(expires), ..new_key(&name, seats) }).await;
    let mut model = Model {
        now: 0,
        total: seats,
        expires,
        suspended: false,
        secrets: vec![(name.clone(), None)],
        known: BTreeMap::new(),
        distrusted: BTreeSet::new(),
        happened: Vec::new(),
    };
    let change = |change| store.update_key(at(0), Scope::Vendor, By::vendor(), &key, change);
    let mut next = number * 1000;
    for (place, step) in steps.iter().enumerate() {
        model.wait(1);
        let now = model.now;
        let nth = |which: usize, model: &Model| model.known.keys().rev().nth(which % model.known.len().max(1)).copied();
        match step {
            Step::Wait(seconds) => model.wait(*seconds),
            Step::Put { machine, hardware, moved, old_key } => {
                next += 1;
                let which = if *old_key { 0 } else { model.secrets.len() - 1 };
                let (name, until) = model.secrets[which].clone();
                let command =
                    RegisterCommand { key_hash: secret(&name), moved: *moved, ..asks(next, *machine, *hardware) };
                let got = put(store, now, command).await.map(|done| (done.how, done.moved_from)).map_err(word);
                let expected = match model.denies() {
                    _ if until.is_some_and(|until| until <= now) => Err("UnknownKey"),
                    Some(denied) => Err(word(denied)),
                    None => model.put_new(next, *machine, *hardware, *moved),
                };
                let expected = expected.map(|(how, from)| (how, from.map(registration)));
                prop_assert_eq!(got, expected, "step {} {:?}", place, step);
                model.happened.push(match expected {
                    Ok((How::Created, _)) => "created",
                    Ok(_) => "moved",
                    Err(why) => why,
                });
            }
            Step::PutAgain { which, hardware, other_machine, moved } => {
                let Some(id) = nth(*which, &model) else { continue };
                let name = model.secrets.last().unwrap().0.clone();
                let machine = model.known[&id].machine + u32::from(*other_machine);
                let command =
                    RegisterCommand { key_hash: secret(&name), moved: *moved, ..asks(id, machine, *hardware) };
                let got = put(store, now, command).await.map(|done| done.view.until.is_some()).map_err(word);
                let fits = *moved || !*other_machine;
                if model.denies().is_none() && fits {
                    model.use_of(id);
                }
                let expected = match model.known[&id].state {
                    _ if model.denies().is_some() => Err(model.denies().map_or("", word)),
                    State::Released => Err("RegistrationReleased"),
                    _ if !fits => Err("RegistrationConflict"),
                    State::Superseded { .. } => Ok(true),
                    State::Active => {
                        let one = model.known.get_mut(&id).unwrap();
                        (one.machine, one.hardware) = (machine, *hardware);
                        model.forget();
                        Ok(false)
                    }
                };
                prop_assert_eq!(got, expected, "step {} {:?}", place, step);
                model.happened.push(match expected {
                    Ok(true) => "superseded",
                    Ok(false) => "confirmed",
                    Err(why) => why,
                });
            }
            Step::Use(which) => {
                let Some(id) = nth(*which, &model) else { continue };
                store.superseded_used(at(now), by(), registration(id)).await.unwrap();
                model.use_of(id);
            }
            Step::Get(which) => {
                let Some(id) = nth(*which, &model) else { continue };
                let got = get(store, now, id).await.map_err(word);
                let is_released = model.known[&id].state == State::Released;
                model.use_of(id);
                let expected = match model.known[&id].state {
                    State::Released => Err("RegistrationReleased"),
                    _ => model.denies().map_or(Ok(model.used()), |denied| Err(word(denied))),
                };
                prop_assert!(!is_released || got.is_err());
                prop_assert_eq!(got, expected, "step {} {:?}", place, step);
            }
            Step::Unregister(which) | Step::Release(which) => {
                let Some(id) = nth(*which, &model) else { continue };
                let done = match step {
                    Step::Release(_) => store.release_seat(at(now), Scope::Vendor, by(), registration(id)).await,
                    _ => store.unregister(at(now), by(), registration(id), token(id), client(1)).await,
                };
                unwrap(done).unwrap();
                model.set(id, State::Released);
                model.forget();
            }
            Step::Resize(seats) => {
                updated(change(KeyChange { seats: Some(*seats), ..KeyChange::default() }).await);
                model.total = *seats;
            }
            Step::Suspend(suspended) => {
                let state = if *suspended { KeyState::Suspended } else { KeyState::Active };
                state_set(store.set_key_state(at(now), Scope::Vendor, By::vendor(), &key, state).await);
                model.suspended = *suspended;
            }
            Step::Renew(days) => {
                let expires = now + days * DAY;
                let renewal = KeyChange { expires: Some(at(expires)), ..KeyChange::default() };
                updated(store.update_key(at(now), Scope::Vendor, By::vendor(), &key, renewal).await);
                model.expires = expires;
            }
            Step::Rotate(old_until) => {
                let fresh = format!("{name} {}", model.secrets.len());
                let until = old_until.map(|seconds| now + seconds);
                let rotation =
                    store.rotate_key(at(now), Scope::Vendor, By::vendor(), &key, secret(&fresh), until.map(at));
                prop_assert!(matches!(rotation.await.unwrap(), Rotation::Rotated));
                for (_, ends) in &mut model.secrets {
                    let until = until.unwrap_or(now);
                    *ends = Some(ends.map_or(until, |ends| ends.min(until)));
                }
                model.secrets.push((fresh, None));
            }
            Step::TrustAgain => {
                updated(change(KeyChange { trust_again: true, ..KeyChange::default() }).await);
                model.distrusted.clear();
            }
            Step::Upkeep => {
                store.release_superseded(at(now), upkeep()).await.unwrap();
                model.release_unused();
            }
        }
        compare(store, &key, &model, place, step).await?;
    }
    let mut seen = seen.lock().unwrap();
    model.happened.iter().for_each(|kind| *seen.entry((*kind).to_owned()).or_insert(0) += 1);
    Ok(())
}

/// Registrations, their states and ends, seats and distrusted ids.
async fn compare(
    store: &Arc<dyn Store>,
    key: &KeyId,
    model: &Model,
    place: usize,
    step: &Step,
) -> Result<(), TestCaseError> {
    let holders = store.holders(at(model.now), Scope::Vendor, key, None, 1000).await.unwrap().unwrap();
    let got: Vec<_> = holders.iter().map(|one| (one.registration, one.state, one.until)).collect();
    let mut expected = Vec::new();
    for (id, one) in &model.known {
        match one.state {
            State::Active => expected.push((registration(*id), RegistrationState::Active, None)),
            State::Superseded { counted, .. } => {
                let known = holders.iter().find(|known| known.registration == registration(*id));
                let until = match counted < UNUSED {
                    true => Some(at(model.now + UNUSED - counted)),
                    // It has ended; when exactly depends on times that are not kept here.
                    false => known.and_then(|known| known.until).filter(|until| *until <= at(model.now)),
                };
                expected.push((registration(*id), RegistrationState::Superseded, until));
            }
            State::Released => {}
        }
    }
    prop_assert_eq!(got, expected, "after step {} {:?}", place, step);
    let record = store.key(at(model.now), Scope::Vendor, key).await.unwrap().unwrap();
    let distrusted: BTreeSet<_> = record.distrusted.iter().copied().collect();
    let expected: BTreeSet<_> = model
        .distrusted
        .iter()
        .map(|(is_hardware, number)| match is_hardware {
            true => asks(0, 0, *number).hardware.unwrap(),
            false => asks(0, *number, 0).machine,
        })
        .collect();
    prop_assert_eq!((record.seats.used, distrusted), (model.used(), expected), "after step {} {:?}", place, step);
    Ok(())
}

/// The kind of a denial.
fn word(denied: Denied) -> &'static str {
    match denied {
        Denied::UnknownKey => "UnknownKey",
        Denied::KeyExpired => "KeyExpired",
        Denied::KeySuspended => "KeySuspended",
        Denied::KeyFull { .. } => "KeyFull",
        Denied::MovedTooOften { .. } => "MovedTooOften",
        Denied::RegistrationConflict => "RegistrationConflict",
        Denied::RegistrationReleased => "RegistrationReleased",
        _ => "another",
    }
}
