//! Limits on failures: each network has a budget of failed requests.
//!
//! Owns the budgets and the slow lane. It must not know what a request asks for. A budget belongs to a network and never to an
//! account: otherwise everybody who knows an id could lock its owner out. A correct secret is never refused because of the
//! failures of others in the same network. So the requests of a network without budget are still answered: one at a time for
//! each network, and few at a time for all such networks. Only a request that fails is answered with 429.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use els_protocol::Sha256Hex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::network::Network;

/// The budgets of all networks, in bounded memory.
pub struct FailureLimits {
    budget: Budget,
    networks: Mutex<Networks>,
    slow_lane: Arc<Semaphore>,
    known: Mutex<KnownSecrets>,
}

/// How many failures a network may have.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Failures in a row.
    pub burst: u32,
    /// The time after which one failure is forgiven.
    pub refill: Duration,
}

/// Permission for one request to the database; held while the request runs.
#[derive(Debug)]
pub struct Admission {
    _held: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

/// The budget is used up: the response is 429, with this pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The value of `Retry-After`.
    pub retry_after: Duration,
}

/// The slow lane was full for [`PATIENCE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

/// The longest wait for the slow lane.
pub const PATIENCE: Duration = Duration::from_secs(10);

impl FailureLimits {
    /// Limits with this budget for each network.
    pub fn new(budget: Budget) -> Self {
        FailureLimits {
            budget,
            networks: Mutex::new(Networks { recent: HashMap::new(), older: HashMap::new(), turned: None }),
            slow_lane: Arc::new(Semaphore::new(SLOW_LANE)),
            known: Mutex::default(),
        }
    }

    /// Whether a secret with this hash was correct recently. Its requests need not wait behind the failures of others in
    /// the same network. It may be incorrect by now.
    pub fn is_known(&self, hash: &Sha256Hex) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.recent.contains(&hash.0) || known.older.contains(&hash.0)
    }

    /// Notes that a secret with this hash is correct.
    pub fn note_known(&self, hash: &Sha256Hex) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.recent.len() >= SECRETS_MOST {
            known.older = std::mem::take(&mut known.recent);
        }
        known.recent.insert(hash.0);
    }

    /// Waits for permission to ask the database. Returns at once while the network has budget.
    pub async fn admit(&self, peer: IpAddr, now: Instant) -> Result<Admission, Crowded> {
        let Some(turn) = self.turn_of(peer, now) else {
            return Ok(Admission { _held: None });
        };
        let wait = async {
            // First the turn among the requests of this network, so that one network never fills the lane.
            let turn = turn.acquire_owned().await.ok()?;
            let lane = self.slow_lane.clone().acquire_owned().await.ok()?;
            Some((turn, lane))
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(Some(held)) => Ok(Admission { _held: Some(held) }),
            Ok(None) | Err(_) => Err(Crowded),
        }
    }

    /// Counts a failure. `Err` if the budget was used up before it.
    pub fn failed(&self, peer: IpAddr, now: Instant) -> Result<(), Exhausted> {
        let mut networks = self.networks();
        let record = networks.get_or_insert(Network::of(peer), self.budget, now);
        record.refill(self.budget, now);
        if record.left == 0 {
            let retry_after = self.budget.refill.saturating_sub(now.saturating_duration_since(record.refilled));
            return Err(Exhausted { retry_after });
        }
        record.left -= 1;
        Ok(())
    }

    /// The queue of a network without budget; `None` while it has budget.
    fn turn_of(&self, peer: IpAddr, now: Instant) -> Option<Arc<Semaphore>> {
        let mut networks = self.networks();
        let record = networks.get(Network::of(peer))?;
        record.refill(self.budget, now);
        (record.left == 0).then(|| record.turn.get_or_insert_with(|| Arc::new(Semaphore::new(1))).clone())
    }

    fn networks(&self) -> MutexGuard<'_, Networks> {
        // Each change under this lock is one step, so that a panic leaves nothing incomplete.
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FailureLimits {
    /// 60 failures in a row, then one each second. A person who mistypes does not reach the limit; guessing a secret of 120
    /// random bits is hopeless.
    fn default() -> Self {
        FailureLimits::new(Budget { burst: 60, refill: Duration::from_secs(1) })
    }
}

/// The budget of one network.
struct Record {
    left: u32,
    refilled: Instant,
    turn: Option<Arc<Semaphore>>,
}

impl Record {
    fn refill(&mut self, budget: Budget, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled);
        let earned = u32::try_from(passed.as_nanos() / budget.refill.as_nanos().max(1)).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(budget.burst);
            self.refilled = now;
        }
    }
}

/// Two generations of networks. When the recent one is full or old, it becomes the older one, and the older one is dropped. A
/// network that fails again moves to the recent one. So memory is bounded, and the networks that were quiet longest go first.
struct Networks {
    recent: HashMap<Network, Record>,
    older: HashMap<Network, Record>,
    turned: Option<Instant>,
}

impl Networks {
    fn get(&mut self, network: Network) -> Option<&mut Record> {
        match self.older.remove(&network) {
            Some(record) => Some(self.recent.entry(network).or_insert(record)),
            None => self.recent.get_mut(&network),
        }
    }

    fn get_or_insert(&mut self, network: Network, budget: Budget, now: Instant) -> &mut Record {
        let turned = *self.turned.get_or_insert(now);
        // After the time in which a budget is full again, a network is like a new one.
        let age = budget.refill.saturating_mul(budget.burst);
        if self.recent.len() >= NETWORKS_MOST || now.saturating_duration_since(turned) > age {
            self.older = std::mem::take(&mut self.recent);
            self.turned = Some(now);
        }
        let record = self.older.remove(&network);
        let fresh = || Record { left: budget.burst, refilled: now, turn: None };
        self.recent.entry(network).or_insert_with(|| record.unwrap_or_else(fresh))
    }
}

/// Hashes of secrets, in two generations.
#[derive(Default)]
struct KnownSecrets {
    recent: HashSet<[u8; 32]>,
    older: HashSet<[u8; 32]>,
}

/// Requests to the database at one time, of all networks without budget together.
const SLOW_LANE: usize = 4;
/// Networks in one generation, about 100 bytes each.
const NETWORKS_MOST: usize = 50_000;
/// Secrets in one generation.
const SECRETS_MOST: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { burst: 3, refill: Duration::from_secs(1) };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn exhaust(limits: &FailureLimits, peer: IpAddr, now: Instant) {
        while limits.failed(peer, now).is_ok() {}
    }

    /// Promise: limit-failures
    #[test]
    fn failures_are_forgiven_with_time() {
        let (limits, now, peer) = (FailureLimits::new(BUDGET), Instant::now(), address("192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(limits.failed(peer, now), Ok(()));
        }
        let half = now + Duration::from_millis(500);
        assert_eq!(limits.failed(peer, half), Err(Exhausted { retry_after: Duration::from_millis(500) }));
        assert_eq!(limits.failed(address("192.0.2.2"), half), Ok(()), "another network has its own budget");
        let later = now + Duration::from_secs(1);
        assert_eq!(limits.failed(peer, later), Ok(()));
        assert!(limits.failed(peer, later).is_err());
        let much_later = now + Duration::from_secs(1000);
        exhaust(&limits, peer, much_later);
        assert!(limits.failed(peer, much_later).is_err());
    }

    /// Promise: limit-failures
    #[test]
    fn an_ipv6_64_is_one_network() {
        let (limits, now) = (FailureLimits::new(BUDGET), Instant::now());
        exhaust(&limits, address("2001:db8:0:1::1"), now);
        assert!(limits.failed(address("2001:db8:0:1:ffff::2"), now).is_err());
        assert!(limits.failed(address("2001:db8:0:2::1"), now).is_ok());
        exhaust(&limits, address("192.0.2.1"), now);
        assert!(limits.failed(address("::ffff:192.0.2.1"), now).is_err(), "the same address in another form");
    }

    #[test]
    fn secrets_that_were_correct_recently_are_known_and_bounded() {
        let limits = FailureLimits::new(BUDGET);
        let hash = |number: u32| Sha256Hex::of(&number.to_be_bytes());
        assert!(!limits.is_known(&hash(0)));
        limits.note_known(&hash(0));
        assert!(limits.is_known(&hash(0)));
        for number in 1..=(2 * SECRETS_MOST as u32) {
            limits.note_known(&hash(number));
        }
        assert!(!limits.is_known(&hash(0)), "dropped: not used recently");
        assert!(limits.is_known(&hash(2 * SECRETS_MOST as u32)));
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_addresses() {
        let (limits, now) = (FailureLimits::new(BUDGET), Instant::now());
        for bits in 0..(NETWORKS_MOST as u32) * 3 {
            let _ = limits.failed(IpAddr::from(bits.to_be_bytes()), now);
        }
        let networks = limits.networks();
        assert!(networks.recent.len() <= NETWORKS_MOST && networks.older.len() <= NETWORKS_MOST);
    }

    /// Promise: limit-good-credential
    #[tokio::test]
    async fn a_network_without_budget_has_one_request_at_a_time() {
        let (limits, now, peer) = (FailureLimits::new(BUDGET), Instant::now(), address("192.0.2.1"));
        let free = limits.admit(peer, now).await.unwrap();
        exhaust(&limits, peer, now);
        drop(free);
        let first = limits.admit(peer, now).await.unwrap();
        let second = limits.admit(peer, now);
        tokio::pin!(second);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err(), "it waits for its turn");
        drop(first);
        second.await.expect("a correct secret is still answered");
    }

    #[tokio::test]
    async fn networks_without_budget_share_the_slow_lane_and_others_do_not_use_it() {
        let (limits, now) = (FailureLimits::new(BUDGET), Instant::now());
        let mut held = Vec::new();
        for at in 0..SLOW_LANE as u8 {
            let peer = IpAddr::from([192, 0, 2, at]);
            exhaust(&limits, peer, now);
            held.push(limits.admit(peer, now).await.unwrap());
        }
        let one_more = address("198.51.100.1");
        exhaust(&limits, one_more, now);
        assert!(tokio::time::timeout(Duration::from_millis(20), limits.admit(one_more, now)).await.is_err());
        limits.admit(address("203.0.113.1"), now).await.expect("a network with budget does not wait");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_the_slow_lane_ends() {
        let (limits, now, peer) = (FailureLimits::new(BUDGET), Instant::now(), address("192.0.2.1"));
        exhaust(&limits, peer, now);
        let _held = limits.admit(peer, now).await.unwrap();
        assert_eq!(limits.admit(peer, now).await.unwrap_err(), Crowded);
    }
}
