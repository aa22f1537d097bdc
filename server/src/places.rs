//! The places of a listener: how many connections it holds, and which one makes room when all places are taken.
//!
//! Owns the choice. It must not know sockets or HTTP: a connection that loses its place ends itself.
//!
//! Who makes room, in this order: connections without a request, the longest idle first; connections whose client takes its
//! response more slowly than [`LEAST_RATE`]; connections of a network that has more than its share of the places, for a
//! network that has less. Among these, networks beyond their share come first, then the slowest. Trusted proxies carry the
//! connections of others: only their idle connections make room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Duration;

use crate::network::Network;
use crate::peer::TrustedProxies;
use crate::progress::{Phase, Progress};

/// All places of one listener.
pub(crate) struct Places {
    most: usize,
    /// Connections that may be ending while others have their places already.
    leaving_most: usize,
    proxies: TrustedProxies,
    table: Mutex<Table>,
    freed: Notify,
}

/// The place of one connection; it is free again when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(crate) progress: Arc<Progress>,
}

#[derive(Default)]
struct Table {
    next: u64,
    held: HashMap<u64, Held>,
    /// Connections of each network; those of proxies are not counted.
    of_network: HashMap<Network, usize>,
    /// Connections that have lost their place and have not ended yet.
    leaving: usize,
}

struct Held {
    /// `None` for a trusted proxy.
    network: Option<Network>,
    leaving: bool,
    progress: Arc<Progress>,
}

impl Places {
    pub(crate) fn new(most: usize, proxies: TrustedProxies) -> Arc<Self> {
        Arc::new(Places {
            most,
            leaving_most: leaving_most(most),
            proxies,
            table: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// A place for a new connection from `address`. If all are taken, another connection makes room, or there is none.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = self.network(address);
        let mut table = self.table();
        if table.held.len() - table.leaving >= self.most {
            let share = table.share(self.most, network);
            // Others can always make room for a network within its share, whatever the rest does.
            let leaving_most = self.leaving_most / if table.held_by(network) < share { 1 } else { 2 };
            if table.leaving >= leaving_most {
                return None;
            }
            table.make_room(share, self.leaving_most / 2, network)?;
        }
        let (number, progress) = (table.next, Arc::new(Progress::new()));
        table.next += 1;
        table.held.insert(number, Held { network, leaving: false, progress: progress.clone() });
        if let Some(network) = network {
            *table.of_network.entry(network).or_default() += 1;
        }
        Some(Place { places: self.clone(), number, progress })
    }

    /// How many places the network of this address has; 0 for a trusted proxy.
    pub(crate) fn held_by(&self, address: IpAddr) -> usize {
        self.table().held_by(self.network(address))
    }

    /// The network that an address counts for; `None` for a trusted proxy.
    pub(crate) fn network(&self, address: IpAddr) -> Option<Network> {
        (!self.proxies.trusts(address.to_canonical())).then(|| Network::of(address))
    }

    /// Returns when a place has become free since the last call.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Returns when no connection is left.
    pub(crate) async fn all_ended(&self) {
        while !self.table().held.is_empty() {
            self.freed.notified().await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change under this lock is one step, so that a panic leaves nothing incomplete.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.table().end(self.number);
        self.places.freed.notify_one();
    }
}

impl Table {
    /// The share of one network in `most` places, with `newcomer` among the networks.
    fn share(&self, most: usize, newcomer: Option<Network>) -> usize {
        let known = newcomer.is_none_or(|network| self.of_network.contains_key(&network));
        (most / (self.of_network.len() + usize::from(!known)).max(1)).max(1)
    }

    /// Evicts connections for one of `newcomer`, up to `at_once` idle ones; `None` if none has to make room for it.
    fn make_room(&mut self, share: usize, at_once: usize, newcomer: Option<Network>) -> Option<()> {
        let beyond = |network: Option<Network>| self.held_by(network).saturating_sub(share);
        let mut victims = self.idle(beyond, at_once);
        if victims.is_empty() {
            victims.extend(self.slow(beyond));
        }
        // For a network within its share, the one with most connections gives up one.
        if victims.is_empty() && self.held_by(newcomer) < share {
            victims.extend(self.beyond_share(share));
        }
        for number in &victims {
            self.evict(*number);
        }
        (!victims.is_empty()).then_some(())
    }

    /// The connections without a request that are the first to go. Several at a time: the search goes over all.
    fn idle(&self, beyond: impl Fn(Option<Network>) -> usize, at_once: usize) -> Vec<u64> {
        let mut idle: Vec<_> = self
            .present()
            .filter(|(_, held)| held.progress.phase() == Phase::Idle && held.progress.age() >= YOUNG)
            .map(|(number, held)| {
                let order = (held.network.is_none(), beyond(held.network) == 0, held.progress.in_phase());
                ((order.0, order.1, std::cmp::Reverse(order.2)), *number)
            })
            .collect();
        idle.sort_unstable();
        idle.truncate(at_once);
        idle.into_iter().map(|(_, number)| number).collect()
    }

    /// The connection that takes its response most slowly, if that is too slowly.
    fn slow(&self, beyond: impl Fn(Option<Network>) -> usize) -> Option<u64> {
        self.present()
            .filter(|(_, held)| held.network.is_some() && held.progress.phase() == Phase::Sending)
            .filter(|(_, held)| held.progress.in_phase() >= RATE_OVER && held.progress.rate() < LEAST_RATE)
            .min_by_key(|(_, held)| (beyond(held.network) == 0, held.progress.rate()))
            .map(|(number, _)| *number)
    }

    /// A connection of the network with most connections, if that has more than its share: one without a request, then the
    /// slowest, then the one that has waited longest.
    fn beyond_share(&self, share: usize) -> Option<u64> {
        let (largest, _) =
            self.of_network.iter().filter(|(_, count)| **count > share).max_by_key(|(_, count)| **count)?;
        self.present()
            .filter(|(_, held)| held.network == Some(*largest))
            .min_by_key(|(_, held)| {
                let progress = &held.progress;
                match progress.phase() {
                    Phase::Idle => (0, 0, std::cmp::Reverse(progress.in_phase())),
                    Phase::Sending => (1, progress.rate(), std::cmp::Reverse(progress.in_phase())),
                    Phase::Waiting => (2, 0, std::cmp::Reverse(progress.in_phase())),
                }
            })
            .map(|(number, _)| *number)
    }

    fn present(&self) -> impl Iterator<Item = (&u64, &Held)> {
        self.held.iter().filter(|(_, held)| !held.leaving)
    }

    fn held_by(&self, network: Option<Network>) -> usize {
        network.and_then(|network| self.of_network.get(&network)).copied().unwrap_or(0)
    }

    fn evict(&mut self, number: u64) {
        let Some(held) = self.held.get_mut(&number) else { return };
        held.leaving = true;
        held.progress.evict();
        self.leaving += 1;
        let network = held.network;
        self.uncount(network);
    }

    fn end(&mut self, number: u64) {
        let Some(held) = self.held.remove(&number) else { return };
        match held.leaving {
            true => self.leaving -= 1,
            false => self.uncount(held.network),
        }
    }

    fn uncount(&mut self, network: Option<Network>) {
        if let Some(network) = network
            && let Some(count) = self.of_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.of_network.remove(&network);
            }
        }
    }
}

/// Connections that may be ending while others have their places already, of a listener with `most` places.
pub(crate) fn leaving_most(most: usize) -> usize {
    (most / 8).max(2)
}

/// The time that a new connection has for its first request, even if its place is wanted.
pub(crate) const YOUNG: Duration = Duration::from_secs(1);
/// Bytes a second that a client has to take, on average, when places are scarce. A line of 64 kbit/s is fast enough.
pub(crate) const LEAST_RATE: u64 = 8 * 1024;
/// The shortest time over which the average counts.
pub(crate) const RATE_OVER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::parse_network;

    fn places(most: usize) -> Arc<Places> {
        Places::new(most, TrustedProxies::new(vec![parse_network("10.0.0.1").unwrap()]))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn lost(place: &Place) -> bool {
        place.progress.is_evicted()
    }

    /// Promise: serve-slow-clients
    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connections_make_room_first() {
        let places = places(4);
        let mut held = Vec::new();
        for last in 1..=4 {
            held.push(places.take(address(last)).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        held[0].progress.enter(Phase::Waiting);
        held[1].progress.enter(Phase::Idle);
        tokio::time::advance(Duration::from_secs(1)).await;
        let _fifth = places.take(address(5)).unwrap();
        assert_eq!(held.iter().map(lost).collect::<Vec<_>>(), [false, false, true, false]);
        // One that leaves counts until it has ended, so that there are never many more than places.
        let _sixth = places.take(address(6)).unwrap();
        assert!(places.take(address(7)).is_none());
        held.retain(|place| !lost(place));
        let _seventh = places.take(address(7)).unwrap();
    }

    /// Promise: serve-slow-clients
    #[tokio::test(start_paused = true)]
    async fn the_slowest_reader_makes_room_and_a_slow_link_does_not() {
        let places = places(3);
        let mut held: Vec<Place> = (1..=3).map(|last| places.take(address(last)).unwrap()).collect();
        for place in &held {
            place.progress.enter(Phase::Sending);
        }
        for _ in 0..9 {
            tokio::time::advance(Duration::from_secs(1)).await;
            held[0].progress.wrote(2000);
            held[1].progress.wrote(4000);
            held[2].progress.wrote(10_000);
        }
        assert!(places.take(address(4)).is_none(), "the average does not count yet");
        tokio::time::advance(Duration::from_secs(1)).await;
        let fourth = places.take(address(4)).unwrap();
        assert_eq!(held.iter().map(lost).collect::<Vec<_>>(), [true, false, false]);
        fourth.progress.enter(Phase::Waiting);
        let fifth = places.take(address(5)).unwrap();
        assert_eq!(held.iter().map(lost).collect::<Vec<_>>(), [true, true, false]);
        fifth.progress.enter(Phase::Waiting);
        held.retain(|place| !lost(place));
        assert!(places.take(address(6)).is_none(), "the others are fast enough, or wait for us");
    }

    /// Promise: serve-fair-share
    #[tokio::test(start_paused = true)]
    async fn a_network_beyond_its_share_makes_room_for_others_and_a_proxy_does_not() {
        let places = places(6);
        let proxy = places.take("10.0.0.1".parse().unwrap()).unwrap();
        let many: Vec<Place> = (0..4).map(|_| places.take(address(1)).unwrap()).collect();
        let other = places.take(address(2)).unwrap();
        for place in many.iter().chain([&proxy, &other]) {
            place.progress.enter(Phase::Sending);
            place.progress.wrote(1_000_000);
        }
        many[2].progress.enter(Phase::Sending);
        many[2].progress.wrote(900_000);
        assert!(places.take(address(1)).is_none(), "it has its share already");
        let third = places.take(address(3)).unwrap();
        assert_eq!(many.iter().map(lost).collect::<Vec<_>>(), [false, false, true, false], "its slowest");
        third.progress.enter(Phase::Waiting);
        drop(many.into_iter().nth(2));
        assert!(!lost(&proxy) && !lost(&other));
    }
}
