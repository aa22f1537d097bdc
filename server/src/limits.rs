//! What a client may get wrong, and how often: a budget of failures for each client address.
//!
//! Owns the budgets and the slow lane. It knows no key and no registration: a budget never belongs to one, or whoever
//! knows an id could lock its machine out. A good key or credential is never refused for the failures of others behind
//! the same address. So an address whose budget is used up is still heard: its questions to the database go one after
//! the other, and few of all such addresses at a time; only what turns out to be a failure is answered with 429.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use els_protocol::Sha256Hex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budgets of all client addresses, in bounded memory.
pub struct FailureLimits {
    budget: Budget,
    clients: Mutex<Clients>,
    slow_lane: Arc<Semaphore>,
    known_keys: Mutex<KnownKeys>,
}

/// How many failures an address may have.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Failures at once.
    pub burst: u32,
    /// The time in which one of them is forgiven.
    pub refill: Duration,
}

/// The right to ask the database one question; held while asking.
#[derive(Debug)]
pub struct Admission {
    _held: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

/// The budget is used up: answer with 429 and this pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// For `Retry-After`.
    pub retry_after: Duration,
}

/// No turn in the slow lane came within [`PATIENCE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

impl FailureLimits {
    /// Budgets of this size.
    pub fn new(budget: Budget) -> Self {
        FailureLimits {
            budget,
            clients: Mutex::new(Clients { recent: HashMap::new(), older: HashMap::new(), turned: None }),
            slow_lane: Arc::new(Semaphore::new(SLOW_LANE)),
            known_keys: Mutex::default(),
        }
    }

    /// Whether a key with this hash was good lately: then a fleet that provisions with it need not queue behind the
    /// failures of others at its address. It says nothing of whether the key is good now.
    pub fn knows_key(&self, key_hash: &Sha256Hex) -> bool {
        let keys = self.known_keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.recent.contains(&key_hash.0) || keys.older.contains(&key_hash.0)
    }

    /// A key with this hash exists.
    pub fn key_is_known(&self, key_hash: &Sha256Hex) {
        let mut keys = self.known_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.recent.len() >= KEYS_MOST {
            keys.older = std::mem::take(&mut keys.recent);
        }
        keys.recent.insert(key_hash.0);
    }

    /// Asks for leave to put a question to the database. At once while the address has budget; else in its turn.
    pub async fn admit(&self, client: IpAddr, now: Instant) -> Result<Admission, Crowded> {
        let Some(turn) = self.turn_of(client, now) else {
            return Ok(Admission { _held: None });
        };
        let wait = async {
            // First the turn among the requests of this address, so that one address never fills the lane.
            let turn = turn.acquire_owned().await.ok()?;
            let lane = self.slow_lane.clone().acquire_owned().await.ok()?;
            Some((turn, lane))
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(Some(held)) => Ok(Admission { _held: Some(held) }),
            Ok(None) | Err(_) => Err(Crowded),
        }
    }

    /// Counts a failure. `Err` when the budget was used up before it.
    pub fn failed(&self, client: IpAddr, now: Instant) -> Result<(), Exhausted> {
        let mut clients = self.clients();
        let client = clients.get_or_insert(Network::of(client), self.budget, now);
        client.refill(self.budget, now);
        if client.left == 0 {
            let retry_after = self.budget.refill.saturating_sub(now.saturating_duration_since(client.refilled));
            return Err(Exhausted { retry_after });
        }
        client.left -= 1;
        Ok(())
    }

    /// The queue in which an address waits whose budget is used up; `None` while it has some left.
    fn turn_of(&self, client: IpAddr, now: Instant) -> Option<Arc<Semaphore>> {
        let mut clients = self.clients();
        let client = clients.get(Network::of(client))?;
        client.refill(self.budget, now);
        (client.left == 0).then(|| client.turn.get_or_insert_with(|| Arc::new(Semaphore::new(1))).clone())
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        // Every change under this lock is a single step, so that a panic elsewhere leaves nothing half done.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FailureLimits {
    /// 60 failures at once and one more each second: a person who mistypes never meets it, a guesser of keys of 120
    /// random bits gets nowhere.
    fn default() -> Self {
        FailureLimits::new(Budget { burst: 60, refill: Duration::from_secs(1) })
    }
}

/// What counts as one client: an IPv4 address, or the 64 bits of IPv6 that one site has at the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    V6(u64),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Network::V4(address.to_bits()),
            IpAddr::V6(address) => Network::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// What is remembered of one client.
struct Client {
    left: u32,
    refilled: Instant,
    turn: Option<Arc<Semaphore>>,
}

impl Client {
    fn refill(&mut self, budget: Budget, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled);
        let earned = u32::try_from(passed.as_nanos() / budget.refill.as_nanos().max(1)).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(budget.burst);
            self.refilled = now;
        }
    }
}

/// Two generations of clients. When the recent one is full or old, it becomes the older one and that is forgotten; a
/// client that is met again moves forward. So memory is bounded, and what is forgotten was quiet the longest.
struct Clients {
    recent: HashMap<Network, Client>,
    older: HashMap<Network, Client>,
    turned: Option<Instant>,
}

impl Clients {
    fn get(&mut self, network: Network) -> Option<&mut Client> {
        match self.older.remove(&network) {
            Some(client) => Some(self.recent.entry(network).or_insert(client)),
            None => self.recent.get_mut(&network),
        }
    }

    fn get_or_insert(&mut self, network: Network, budget: Budget, now: Instant) -> &mut Client {
        let turned = *self.turned.get_or_insert(now);
        // After the time in which a budget fills up again, a client is like a new one.
        let age = budget.refill.saturating_mul(budget.burst);
        if self.recent.len() >= CLIENTS_MOST || now.saturating_duration_since(turned) > age {
            self.older = std::mem::take(&mut self.recent);
            self.turned = Some(now);
        }
        let client = self.older.remove(&network);
        let fresh = || Client { left: budget.burst, refilled: now, turn: None };
        self.recent.entry(network).or_insert_with(|| client.unwrap_or_else(fresh))
    }
}

/// Hashes of keys, in two generations as well.
#[derive(Default)]
struct KnownKeys {
    recent: HashSet<[u8; 32]>,
    older: HashSet<[u8; 32]>,
}

/// The longest wait in the slow lane.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Questions that addresses without budget have at the database at one time, all together.
const SLOW_LANE: usize = 4;
/// Clients in one generation: some 100 bytes each.
const CLIENTS_MOST: usize = 50_000;
/// Keys in one generation.
const KEYS_MOST: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { burst: 3, refill: Duration::from_secs(1) };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn exhaust(limits: &FailureLimits, client: IpAddr, now: Instant) {
        while limits.failed(client, now).is_ok() {}
    }

    /// Promise: limit-failures
    #[test]
    fn failures_are_forgiven_with_time() {
        let (limits, now, client) = (FailureLimits::new(BUDGET), Instant::now(), address("192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(limits.failed(client, now), Ok(()));
        }
        let half = now + Duration::from_millis(500);
        assert_eq!(limits.failed(client, half), Err(Exhausted { retry_after: Duration::from_millis(500) }));
        assert_eq!(limits.failed(address("192.0.2.2"), half), Ok(()), "another address has its own budget");
        let later = now + Duration::from_secs(1);
        assert_eq!(limits.failed(client, later), Ok(()));
        assert!(limits.failed(client, later).is_err());
        let much_later = now + Duration::from_secs(1000);
        exhaust(&limits, client, much_later);
        assert!(limits.failed(client, much_later).is_err());
    }

    /// Promise: limit-failures
    #[test]
    fn one_ipv6_site_is_one_client() {
        let (limits, now) = (FailureLimits::new(BUDGET), Instant::now());
        exhaust(&limits, address("2001:db8:0:1::1"), now);
        assert!(limits.failed(address("2001:db8:0:1:ffff::2"), now).is_err());
        assert!(limits.failed(address("2001:db8:0:2::1"), now).is_ok());
        exhaust(&limits, address("192.0.2.1"), now);
        assert!(limits.failed(address("::ffff:192.0.2.1"), now).is_err(), "the same address, written otherwise");
    }

    #[test]
    fn keys_that_were_good_lately_are_known_and_bounded() {
        let limits = FailureLimits::new(BUDGET);
        let key = |number: u32| Sha256Hex::of(&number.to_be_bytes());
        assert!(!limits.knows_key(&key(0)));
        limits.key_is_known(&key(0));
        assert!(limits.knows_key(&key(0)));
        for number in 1..=(2 * KEYS_MOST as u32) {
            limits.key_is_known(&key(number));
        }
        assert!(!limits.knows_key(&key(0)), "not used for long");
        assert!(limits.knows_key(&key(2 * KEYS_MOST as u32)));
    }

    #[test]
    fn memory_is_bounded_however_many_addresses_come() {
        let (limits, now) = (FailureLimits::new(BUDGET), Instant::now());
        for bits in 0..(CLIENTS_MOST as u32) * 3 {
            let _ = limits.failed(IpAddr::from(bits.to_be_bytes()), now);
        }
        let clients = limits.clients();
        assert!(clients.recent.len() <= CLIENTS_MOST && clients.older.len() <= CLIENTS_MOST);
    }

    /// Promise: limit-good-credential
    #[tokio::test]
    async fn an_address_without_budget_is_heard_one_question_at_a_time() {
        let (limits, now, client) = (FailureLimits::new(BUDGET), Instant::now(), address("192.0.2.1"));
        let free = limits.admit(client, now).await.unwrap();
        exhaust(&limits, client, now);
        drop(free);
        let first = limits.admit(client, now).await.unwrap();
        let second = limits.admit(client, now);
        tokio::pin!(second);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err(), "it waits for its turn");
        drop(first);
        second.await.expect("a good key is still heard");
    }

    #[tokio::test]
    async fn addresses_without_budget_share_a_narrow_lane_that_others_do_not_use() {
        let (limits, now) = (FailureLimits::new(BUDGET), Instant::now());
        let mut held = Vec::new();
        for at in 0..SLOW_LANE as u8 {
            let client = IpAddr::from([192, 0, 2, at]);
            exhaust(&limits, client, now);
            held.push(limits.admit(client, now).await.unwrap());
        }
        let one_more = address("198.51.100.1");
        exhaust(&limits, one_more, now);
        assert!(tokio::time::timeout(Duration::from_millis(20), limits.admit(one_more, now)).await.is_err());
        limits.admit(address("203.0.113.1"), now).await.expect("an address with budget does not wait");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let (limits, now, client) = (FailureLimits::new(BUDGET), Instant::now(), address("192.0.2.1"));
        exhaust(&limits, client, now);
        let _held = limits.admit(client, now).await.unwrap();
        assert_eq!(limits.admit(client, now).await.unwrap_err(), Crowded);
    }
}
