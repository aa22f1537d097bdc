//! Clients that record each answer in books of their own, and compare a backend with them after a crash.
//!
//! They register, confirm, move, unregister and release in parallel, and stop at the first answer that is lost. Then their books
//! are compared with the backend: each seat that was answered is held, each that was released is free, none is counted twice and
//! none has leaked. A request whose answer was lost is sent again unchanged, as the agent does, and must end as if it had been
//! sent once. This module must not know what crashes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use els_protocol::wire::{RegistrationState, SeatList, seat_path};
use els_protocol::{LicenseKey, RegistrationId};

use els_testkit::http::{Answer, Client, Registrant, bearer};
use els_testkit::sweep::Dice;

/// A key, and how many seats it has.
pub(crate) struct Key {
    key: LicenseKey,
    bearer: String,
    seats: u64,
}

impl Key {
    pub(crate) fn new(key: LicenseKey, seats: u64) -> Self {
        Key { bearer: bearer(&key), key, seats }
    }
}

/// What a clerk knows of one registration.
struct Entry {
    who: Registrant,
    machine: u32,
    key: usize,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was answered that it holds a seat.
    Held,
    /// Its seat moved to a newer registration less than an hour ago, so that its credential still works.
    Superseded,
    /// It was answered that it is released.
    Gone,
    /// The answer to its PUT was lost. The seat comes from that entry, if from any.
    Asked { from: Option<usize> },
    /// The answer to its release was lost.
    Releasing,
}

/// A client with machines of its own, and its ledger.
pub(crate) struct Clerk<'a> {
    keys: &'a [Key],
    dice: Dice,
    /// The numbers of its machines and registrations begin here.
    numbers: u32,
    ledger: Vec<Entry>,
    /// Entries before this one have been looked at since they last changed, except those in `touched`.
    fresh: usize,
    touched: Vec<usize>,
    /// Whether a backend may answer 503, which counts as a lost answer.
    pub(crate) bears_unavailable: bool,
}

impl<'a> Clerk<'a> {
    pub(crate) fn new(number: u32, keys: &'a [Key]) -> Self {
        let dice = Dice(u64::from(number) + 100);
        Clerk {
            keys,
            dice,
            numbers: number << 24,
            ledger: Vec::new(),
            fresh: 0,
            touched: Vec::new(),
            bears_unavailable: false,
        }
    }

    /// Sends requests until the backend ends. Returns the number of answers.
    pub(crate) fn work(&mut self, client: Client) -> u64 {
        self.work_until(client, &AtomicBool::new(false))
    }

    /// Sends requests until an answer is lost, or until `enough` is set.
    pub(crate) fn work_until(&mut self, mut client: Client, enough: &AtomicBool) -> u64 {
        let mut answered = 0;
        while !enough.load(Ordering::Relaxed) && self.one_request(&mut client).is_ok() {
            answered += 1;
        }
        answered
    }

    fn one_request(&mut self, client: &mut Client) -> Result<(), Lost> {
        let key = usize::from(self.dice.roll(3) > 0);
        let held = self.some(key, Fate::Held);
        let gone = self.some(key, Fate::Gone);
        let superseded = self.some(key, Fate::Superseded);
        match (self.dice.roll(10), held, gone) {
            (0..=3, _, _) | (_, None, None) => {
                let machine = self.next_number();
                self.register(client, key, machine, None)
            }
            (4, Some(held), _) => {
                // The machine has lost its state: a new id takes the seat over.
                let machine = self.ledger[held].machine;
                self.register(client, key, machine, Some(held))
            }
            (5, Some(held), _) => self.put(client, held).map(|answer| assert_eq!(answer.status, 200, "{answer:?}")),
            (6, _, Some(gone)) if superseded.is_none() => self.delete(client, gone),
            (6, ..) if let Some(superseded) = superseded => self.delete(client, superseded),
            (7, Some(held), _) => self.release(client, held),
            (_, Some(held), _) => self.delete(client, held),
            (_, None, Some(gone)) => self.delete(client, gone),
        }
    }

    fn register(&mut self, client: &mut Client, key: usize, machine: u32, from: Option<usize>) -> Result<(), Lost> {
        let who = Registrant::new(self.next_number(), machine);
        self.ledger.push(Entry { who, machine, key, fate: Fate::Asked { from } });
        let at = self.ledger.len() - 1;
        let answer = self.put(client, at)?;
        self.registered(at, from, &answer);
        Ok(())
    }

    /// A PUT as it stands; what its answer says of the seats must be possible.
    fn put(&self, client: &mut Client, at: usize) -> Result<Answer, Lost> {
        let Entry { who, key, .. } = &self.ledger[at];
        let body = who.body(&self.keys[*key].key);
        let answer = self.known(client.ask("PUT", &who.path(), &[JSON], Some(&body)))?;
        let seats = &answer.json()["seats"];
        let (total, used) = (seats["total"].as_u64().unwrap(), seats["used"].as_u64().unwrap());
        assert_eq!(total, self.keys[*key].seats);
        assert!(used <= total, "oversold: {answer:?}");
        assert!(answer.status != 409 || used == total, "refused though a seat was free: {answer:?}");
        Ok(answer)
    }

    fn known(&self, answer: std::io::Result<Answer>) -> Result<Answer, Lost> {
        match answer {
            Ok(answer) if answer.status == 503 && self.bears_unavailable => Err(Lost),
            answer => answer.map_err(|_| Lost),
        }
    }

    fn registered(&mut self, at: usize, from: Option<usize>, answer: &Answer) {
        self.touched.push(at);
        match answer.status {
            200 | 201 => self.ledger[at].fate = Fate::Held,
            409 => {
                answer.assert_code("no-free-seat");
                assert!(from.is_none(), "the machine had a seat: {answer:?}");
                // It was never there: nothing to look at later. A clerk stops at the first answer that is lost, so
                // that what it asks for is always its last entry.
                assert_eq!(at + 1, self.ledger.len());
                self.ledger.pop();
                self.touched.pop();
            }
            _ => panic!("{answer:?}"),
        }
        if let Some(from) = from {
            self.ledger[from].fate = Fate::Superseded;
            self.touched.push(from);
        }
    }

    fn delete(&mut self, client: &mut Client, at: usize) -> Result<(), Lost> {
        let authorization = self.ledger[at].who.basic();
        let path = self.ledger[at].who.path();
        self.send_release(client, at, &path, &authorization)
    }

    fn release(&mut self, client: &mut Client, at: usize) -> Result<(), Lost> {
        let Entry { who, key, .. } = &self.ledger[at];
        let (path, authorization) = (seat_path(&who.id), self.keys[*key].bearer.clone());
        self.send_release(client, at, &path, &authorization)
    }

    fn send_release(&mut self, client: &mut Client, at: usize, path: &str, authorization: &str) -> Result<(), Lost> {
        self.touched.push(at);
        self.ledger[at].fate = Fate::Releasing;
        let answer = self.known(client.ask("DELETE", path, &[("Authorization", authorization)], None))?;
        assert_eq!(answer.status, 204, "{answer:?}");
        self.ledger[at].fate = Fate::Gone;
        Ok(())
    }

    /// Looks at everything once more that was ever answered.
    pub(crate) fn look_at_all(&mut self, listen: SocketAddr) {
        self.fresh = 0;
        self.settle(listen);
    }

    /// After a new start: sends again what was not answered, then asks for everything that changed since the last time.
    pub(crate) fn settle(&mut self, listen: SocketAddr) -> u64 {
        let mut client = Client::new(listen);
        let mut again = 0;
        for at in (0..self.ledger.len()).rev() {
            match self.ledger[at].fate {
                Fate::Held | Fate::Superseded | Fate::Gone => continue,
                Fate::Releasing => self.delete(&mut client, at).unwrap(),
                Fate::Asked { from } => {
                    let answer = self.put(&mut client, at).unwrap();
                    assert!(from.is_none() || answer.status == 200, "a seat that moves is not a new seat: {answer:?}");
                    self.registered(at, from, &answer);
                }
            }
            again += 1;
        }
        let mut due = std::mem::take(&mut self.touched);
        due.extend(self.fresh..self.ledger.len());
        due.sort_unstable();
        due.dedup();
        for at in due {
            self.look_at(&mut client, at);
        }
        self.fresh = self.ledger.len();
        again
    }

    /// The backend and the gate know of this entry what was answered.
    fn look_at(&self, client: &mut Client, at: usize) {
        let Entry { who, fate, .. } = &self.ledger[at];
        let (own, from) = (who.basic(), somewhere(at));
        let headers = [("Authorization", own.as_str()), ("X-Forwarded-For", from.as_str())];
        let answer = client.ask("GET", &who.path(), &headers, None).unwrap();
        let at_gate = [headers[0], headers[1], ("X-Original-URI", "/repo/almalinux/9/repodata/repomd.xml")];
        let mut gate = client.ask("GET", "/v1/repo-auth", &at_gate, None).unwrap();
        // A node that has not heard of it yet has five seconds.
        let deadline = Instant::now() + Duration::from_secs(5);
        while *fate == Fate::Gone && gate.status == 204 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            gate = client.ask("GET", "/v1/repo-auth", &at_gate, None).unwrap();
        }
        match fate {
            Fate::Held => assert_eq!((answer.status, gate.status), (200, 204), "a seat that was answered is lost"),
            Fate::Superseded => {
                assert_eq!((answer.status, gate.status), (200, 204), "a credential ended within its hour");
                assert_eq!(answer.json()["state"], "superseded");
            }
            Fate::Gone => assert_eq!((answer.status, gate.status), (410, 401), "a released registration is there"),
            _ => panic!("an answer is lost, and the request was not sent again"),
        }
    }

    /// One of the latest entries with this fate.
    fn some(&mut self, key: usize, fate: Fate) -> Option<usize> {
        let skip = self.dice.roll(4) as usize;
        let latest = self.ledger.iter().enumerate().rev().take(200);
        let mut fitting: Vec<usize> =
            latest.filter(|(_, one)| one.key == key && one.fate == fate).map(|(at, _)| at).take(skip + 1).collect();
        fitting.pop()
    }

    fn next_number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }
}

/// Each key's list of seats is what the ledgers say, no more and no less, and the counter agrees.
pub(crate) fn books_agree(listen: SocketAddr, keys: &[Key], clerks: &[Clerk<'_>]) {
    let mut client = Client::new(listen);
    for (number, key) in keys.iter().enumerate() {
        let entries = clerks.iter().flat_map(|clerk| &clerk.ledger);
        let mut expected: Vec<(RegistrationId, RegistrationState)> = entries
            .filter(|one| one.key == number)
            .filter_map(|one| match one.fate {
                Fate::Held => Some((one.who.id, RegistrationState::Active)),
                Fate::Superseded => Some((one.who.id, RegistrationState::Superseded)),
                _ => None,
            })
            .collect();
        expected.sort_by_key(|(id, _)| *id);
        let held = expected.iter().filter(|(_, state)| *state == RegistrationState::Active).count() as u64;
        let mut listed = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/seats?limit=1000&after={after}");
            let answer = client.ask("GET", &path, &[("Authorization", &key.bearer)], None).unwrap();
            let page: SeatList = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((page.seats.used, page.seats.total), (held, key.seats), "seats that were counted");
            listed.extend(page.registrations.iter().map(|holder| (holder.registration, holder.state)));
            match page.next {
                Some(next) => after = next.to_string(),
                None => break,
            }
        }
        assert_eq!(listed, expected, "the registrations of key {number}");
    }
}

/// No answer came: the backend has ended.
#[derive(Debug)]
struct Lost;

/// An address of its own for each entry that is looked at.
fn somewhere(number: usize) -> String {
    format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
}

const JSON: (&str, &str) = ("Content-Type", "application/json");
