//! Limits on guessing secrets that somebody made up, and turns between networks.
//!
//! Owns how often a network may try secrets that it has not tried before. It must not know what a request asks for. A budget
//! belongs to a network and never to an account: otherwise everybody who knows an id could lock its owner out. A secret that
//! was correct in this network is free. The same incorrect secret again is not another guess: a host with a wrong setting
//! costs its network one guess, and then waits behind itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use els_protocol::Sha256Hex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::network::Network;

/// The guesses of all networks, in bounded memory.
pub struct GuessLimits {
    budget: Budget,
    born: Instant,
    state: Mutex<State>,
    /// A secret was found to be correct or incorrect.
    answered: Notify,
}

/// How many secrets a network may try.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// At once.
    pub burst: u32,
    /// The time after which one more may be tried.
    pub refill: Duration,
}

/// Permission to try one secret. Dropped without an answer, it costs nothing.
pub struct Admission {
    limits: Arc<GuessLimits>,
    tried: Tried,
    /// Whether it costs the network a guess if the secret is incorrect.
    counted: bool,
    _turn: Option<OwnedSemaphorePermit>,
}

/// The network has tried too many secrets: the response is 429, with this pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The value of `Retry-After`.
    pub retry_after: Duration,
}

impl GuessLimits {
    /// Limits with this budget for each network.
    pub fn new(budget: Budget) -> Arc<Self> {
        let (born, state, answered) = (Instant::now(), Mutex::default(), Notify::new());
        Arc::new(GuessLimits { budget, born, state, answered })
    }

    /// Waits for permission to try `secret`, at most [`PATIENCE`].
    pub async fn admit(self: &Arc<Self>, peer: IpAddr, secret: &Sha256Hex) -> Result<Admission, Exhausted> {
        let tried = Tried(Network::of(peer), secret.0);
        let admission = |counted, turn| Admission { limits: self.clone(), tried, counted, _turn: turn };
        let until = Instant::now() + PATIENCE;
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            answered.as_mut().enable();
            let wait = match self.step(tried)? {
                Step::Free => return Ok(admission(false, None)),
                Step::Repeated(turn) => {
                    let left = until.saturating_duration_since(Instant::now());
                    return match timeout(left, turn.acquire_owned()).await {
                        Ok(Ok(turn)) => Ok(admission(false, Some(turn))),
                        _ => Err(Exhausted { retry_after: PATIENCE }),
                    };
                }
                Step::Guess(wait) if wait.is_zero() => return Ok(admission(true, None)),
                Step::Guess(wait) => wait,
                // Somebody else of this network tries it at this moment.
                Step::Pending => {
                    let left = until.saturating_duration_since(Instant::now());
                    timeout(left, answered).await.map_err(|_| Exhausted { retry_after: self.budget.refill })?;
                    continue;
                }
            };
            // The guess is counted; its time comes.
            let guess = admission(true, None);
            sleep(wait).await;
            return Ok(guess);
        }
    }

    fn step(&self, tried: Tried) -> Result<Step, Exhausted> {
        let now = self.born.elapsed();
        let mut state = self.state();
        match state.secrets.get(&tried).copied() {
            Some(Answer::Correct) => return Ok(Step::Free),
            Some(Answer::Pending) => return Ok(Step::Pending),
            Some(Answer::Incorrect) => {
                let record = state.networks.get_or_insert(tried.0);
                return Ok(Step::Repeated(record.turn.get_or_insert_with(|| Arc::new(Semaphore::new(1))).clone()));
            }
            None => {}
        }
        let whole = self.budget.refill * self.budget.burst;
        let record = state.networks.get_or_insert(tried.0);
        // When the budget would be full again, as a time after `born`, shifted so that it is never negative.
        let full = record.full.max(now) + self.budget.refill;
        let wait = full.saturating_sub(now + whole);
        if wait > PATIENCE {
            return Err(Exhausted { retry_after: wait.saturating_sub(PATIENCE).max(self.budget.refill) });
        }
        record.full = full;
        state.secrets.insert(tried, Answer::Pending);
        Ok(Step::Guess(wait))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under this lock is one step, so that a panic leaves nothing incomplete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// Notes whether the secret was correct.
    pub fn answered(mut self, correct: bool) {
        let answer = if correct { Answer::Correct } else { Answer::Incorrect };
        let mut state = self.limits.state();
        state.secrets.insert(self.tried, answer);
        if self.counted && correct {
            state.forgive(self.tried.0, self.limits.budget);
        }
        drop(state);
        self.counted = false;
        self.limits.answered.notify_waiters();
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.counted {
            let mut state = self.limits.state();
            state.secrets.remove(&self.tried);
            state.forgive(self.tried.0, self.limits.budget);
            drop(state);
            self.limits.answered.notify_waiters();
        }
    }
}

/// Turns: each network has a few at a time, whatever others ask for.
pub struct Turns {
    each: usize,
    networks: Mutex<HashMap<Network, Arc<Semaphore>>>,
}

/// The turn of one request.
pub struct Turn {
    turns: Arc<Turns>,
    network: Network,
    semaphore: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// `each` turns at a time for each network.
    pub fn new(each: usize) -> Arc<Self> {
        Arc::new(Turns { each, networks: Mutex::default() })
    }

    /// Waits for a turn of the network of `peer`; `None` after [`PATIENCE`].
    pub async fn wait(self: &Arc<Self>, peer: IpAddr) -> Option<Turn> {
        let network = Network::of(peer);
        let semaphore = {
            let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
            networks.entry(network).or_insert_with(|| Arc::new(Semaphore::new(self.each))).clone()
        };
        let mut turn = Turn { turns: self.clone(), network, semaphore, permit: None };
        turn.permit = Some(timeout(PATIENCE, turn.semaphore.clone().acquire_owned()).await.ok()?.ok()?);
        Some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.permit = None;
        let mut networks = self.turns.networks.lock().unwrap_or_else(PoisonError::into_inner);
        // One in the table, one here.
        if Arc::strong_count(&self.semaphore) <= 2 {
            networks.remove(&self.network);
        }
    }
}

/// One secret, tried by one network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Tried(Network, [u8; 32]);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Pending,
    Correct,
    Incorrect,
}

enum Step {
    Free,
    Pending,
    Repeated(Arc<Semaphore>),
    Guess(Duration),
}

#[derive(Default)]
struct State {
    networks: Generations<Network, Record>,
    secrets: Generations<Tried, Answer>,
}

impl State {
    fn forgive(&mut self, network: Network, budget: Budget) {
        let record = self.networks.get_or_insert(network);
        record.full = record.full.saturating_sub(budget.refill);
    }
}

#[derive(Default)]
struct Record {
    full: Duration,
    /// For secrets that are known to be incorrect.
    turn: Option<Arc<Semaphore>>,
}

/// Two generations of entries. When the recent one is full, it becomes the older one, and the older one is dropped. An entry
/// that is used moves to the recent one. So memory is bounded, and what was not used for longest goes first.
struct Generations<K, V> {
    recent: HashMap<K, V>,
    older: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Generations { recent: HashMap::new(), older: HashMap::new() }
    }
}

impl<K: Copy + Eq + std::hash::Hash, V> Generations<K, V> {
    fn get(&mut self, key: &K) -> Option<&mut V> {
        if let Some(value) = self.older.remove(key) {
            self.insert(*key, value);
        }
        self.recent.get_mut(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.recent.len() >= ENTRIES_MOST {
            self.older = std::mem::take(&mut self.recent);
        }
        self.older.remove(&key);
        self.recent.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.recent.remove(key);
        self.older.remove(key);
    }

    fn get_or_insert(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        if self.get(&key).is_none() {
            self.insert(key, V::default());
        }
        match self.recent.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(V::default()),
        }
    }
}

/// 60 secrets at once, then one each second. A person who mistypes does not reach the limit.
pub const KEYS: Budget = Budget { burst: 60, refill: Duration::from_secs(1) };
/// The longest wait for permission.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Entries in one generation, about 100 bytes each.
const ENTRIES_MOST: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { burst: 3, refill: Duration::from_secs(1) };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn secret(number: u32) -> Sha256Hex {
        Sha256Hex::of(&number.to_be_bytes())
    }

    /// Tries a secret; says how long it waited.
    async fn guess(limits: &Arc<GuessLimits>, peer: &str, number: u32, correct: bool) -> Result<u64, Exhausted> {
        let began = Instant::now();
        limits.admit(address(peer), &secret(number)).await?.answered(correct);
        Ok(began.elapsed().as_secs())
    }

    /// Promise: limit-guesses
    #[tokio::test(start_paused = true)]
    async fn after_the_first_guesses_each_waits_its_turn_and_too_many_are_refused() {
        let limits = GuessLimits::new(BUDGET);
        for number in 0..3 {
            assert_eq!(guess(&limits, "192.0.2.1", number, false).await, Ok(0));
        }
        assert_eq!(guess(&limits, "192.0.2.1", 3, false).await, Ok(1));
        assert_eq!(guess(&limits, "192.0.2.2", 4, false).await, Ok(0), "another network has its own budget");
        let all = (100..200).map(|number| {
            let limits = limits.clone();
            tokio::spawn(async move { guess(&limits, "192.0.2.1", number, false).await })
        });
        let mut waits = Vec::new();
        for one in all.collect::<Vec<_>>() {
            waits.push(one.await.unwrap());
        }
        assert_eq!(waits.iter().filter(|wait| wait.is_ok()).count(), 10, "one a second: {waits:?}");
        assert_eq!(waits[9], Ok(10));
        assert!(waits[10].is_err_and(|exhausted| exhausted.retry_after == Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1000)).await;
        for number in 300..303 {
            assert_eq!(guess(&limits, "192.0.2.1", number, false).await, Ok(0), "forgiven with time");
        }
    }

    /// Promise: limit-guesses
    #[tokio::test(start_paused = true)]
    async fn a_correct_secret_is_free_afterwards_and_a_repeated_mistake_is_one_guess() {
        let limits = GuessLimits::new(BUDGET);
        for _ in 0..100 {
            assert_eq!(guess(&limits, "192.0.2.1", 1, false).await, Ok(0), "the same mistake again");
            assert_eq!(guess(&limits, "192.0.2.1", 2, true).await, Ok(0), "a fleet in the same network");
        }
        for number in 3..5 {
            assert_eq!(guess(&limits, "192.0.2.1", number, false).await, Ok(0));
        }
        assert_eq!(guess(&limits, "192.0.2.1", 2, true).await, Ok(0), "not even when the budget is used up");
        assert_eq!(guess(&limits, "192.0.2.1", 6, true).await, Ok(1), "a new one waits its turn, though correct");
        assert_eq!(guess(&limits, "192.0.2.1", 6, true).await, Ok(0));
        assert_eq!(guess(&limits, "192.0.2.2", 1, false).await, Ok(0));
    }

    /// Promise: limit-guesses
    #[tokio::test(start_paused = true)]
    async fn many_requests_with_one_new_secret_are_one_guess() {
        let limits = GuessLimits::new(BUDGET);
        let first = limits.admit(address("192.0.2.1"), &secret(1)).await.unwrap();
        let others = (0..1000).map(|_| {
            let limits = limits.clone();
            tokio::spawn(async move { guess(&limits, "192.0.2.1", 1, true).await })
        });
        let others: Vec<_> = others.collect();
        tokio::task::yield_now().await;
        first.answered(true);
        for other in others {
            assert_eq!(other.await.unwrap(), Ok(0));
        }
        // A request that was not answered, because the database is away, costs nothing.
        for number in 10..100 {
            drop(limits.admit(address("192.0.2.1"), &secret(number)).await.unwrap());
        }
        assert_eq!(guess(&limits, "192.0.2.1", 2, false).await, Ok(0));
    }

    /// Promise: limit-guesses
    #[tokio::test(start_paused = true)]
    async fn an_ipv6_64_is_one_network() {
        let limits = GuessLimits::new(BUDGET);
        for number in 0..3 {
            guess(&limits, &format!("2001:db8:0:1::{number}"), number, false).await.unwrap();
            guess(&limits, "192.0.2.1", number, false).await.unwrap();
        }
        assert_eq!(guess(&limits, "2001:db8:0:1:ffff::2", 9, false).await, Ok(1));
        assert_eq!(guess(&limits, "2001:db8:0:2::1", 9, false).await, Ok(0));
        assert_eq!(guess(&limits, "::ffff:192.0.2.1", 9, false).await, Ok(0), "a second has passed");
        assert_eq!(guess(&limits, "::ffff:192.0.2.1", 10, false).await, Ok(1), "the same address in another form");
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_addresses() {
        let mut entries = Generations::<u32, u32>::default();
        for number in 0..(ENTRIES_MOST as u32) * 3 {
            entries.insert(number, number);
            assert!(entries.get(&0).is_some(), "it is used");
        }
        assert!(entries.recent.len() <= ENTRIES_MOST && entries.older.len() <= ENTRIES_MOST);
        assert!(entries.get(&1).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn each_network_has_its_turns_and_none_is_remembered_afterwards() {
        let turns = Turns::new(2);
        let held = [turns.wait(address("192.0.2.1")).await.unwrap(), turns.wait(address("192.0.2.1")).await.unwrap()];
        assert!(turns.wait(address("192.0.2.1")).await.is_none(), "not within {PATIENCE:?}");
        let other = turns.wait(address("192.0.2.2")).await.unwrap();
        drop((held, other));
        assert!(turns.networks.lock().unwrap().is_empty());
    }
}
