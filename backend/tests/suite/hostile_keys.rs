//! Clients that guess keys, or send too many requests with their own: other clients of the same address, and other keys, are
//! still served.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use els_protocol::LicenseKey;

use els_testkit::http::{Client, Registrant, bearer, connect};
use els_testkit::site::{Served, Site};
use els_testkit::sweep::{Ending, open_files, soak, within_a_minute};

/// Promise: limit-good-credential
#[test]
fn guessing_does_not_lock_out_a_good_key_behind_the_same_address() {
    let site = Site::new();
    let (_, key) = site.key(100_000);
    let served = site.serve();
    let (guessed, over, began) = (AtomicU64::new(0), AtomicBool::new(false), Instant::now());
    let good = std::thread::scope(|scope| {
        for guesser in 0..3_u8 {
            let (guessed, over, listen) = (&guessed, &over, served.listen);
            scope.spawn(move || {
                let mut client = Client::new(listen);
                for number in 0_u64.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let mut random = [guesser; 15];
                    random[..8].copy_from_slice(&number.to_be_bytes());
                    let guess = LicenseKey::from_random(random);
                    let answer = client.ask("GET", "/v1/seats", &[("Authorization", &bearer(&guess))], None).unwrap();
                    assert!([403, 429].contains(&answer.status), "{answer:?}");
                    guessed.fetch_add(u64::from(answer.status == 403), Ordering::Relaxed);
                }
            });
        }
        let _ending = Ending(&over);
        // Only then does the fleet begin, with a key that nobody has used yet.
        within_a_minute(|| (guessed.load(Ordering::Relaxed) >= 60).then_some(()));
        let until = Instant::now() + Duration::from_secs(if soak() { 60 } else { 6 });
        let (mut good, mut client) = (0, Client::new(served.listen));
        while Instant::now() < until {
            let who = Registrant::new(good, good);
            let own = who.basic();
            for (method, body, status) in
                [("PUT", Some(who.body(&key)), 201), ("GET", None, 200), ("DELETE", None, 204)]
            {
                let headers = [("Authorization", own.as_str())];
                let answer = client.ask(method, &who.path(), &headers, body.as_ref()).unwrap();
                assert_eq!(answer.status, status, "{method} {good}: {answer:?}");
            }
            good += 1;
        }
        good
    });
    let (guessed, seconds) = (guessed.into_inner(), began.elapsed().as_secs());
    println!("guesses answered in {seconds} s: {guessed}, machines that came and went beside them: {good}");
    assert!(guessed <= 60 + seconds + 1, "{guessed} in {seconds} s");
    // The first request waits its turn; the others are at full speed.
    assert!(good > 50, "{good}");
}

/// Promise: limit-queues
#[test]
fn a_late_request_with_another_key_does_not_wait_for_a_full_queue() {
    open_files(2 * CROWD as usize + 400);
    let site = Site::new();
    let (storming, quiet) = (site.key(100_000).1, site.key(100_000).1);
    let served = site.serve();
    // Nothing can be written until all have queued up.
    let mut held_up = rusqlite::Connection::open(site.database()).unwrap();
    let lock = held_up.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let crowd: Vec<TcpStream> = (0..CROWD).map(|number| asked(&served, number, &storming)).collect();
    std::thread::sleep(Duration::from_secs(2));
    let mut last = asked(&served, CROWD, &quiet);
    std::thread::sleep(Duration::from_millis(500));
    drop(lock);
    let mut first_line = [0; 12];
    last.read_exact(&mut first_line).unwrap();
    let before = crowd.iter().filter(|stream| is_answered(stream)).count();
    assert_eq!(&first_line, b"HTTP/1.1 201");
    println!("of {CROWD} requests that came before with another key, answered before: {before}");
    assert!(before < CROWD as usize / 2, "each key has a queue of its own: {before}");
    for mut stream in crowd {
        stream.read_exact(&mut first_line).unwrap();
        assert_eq!(&first_line, b"HTTP/1.1 201", "a crowd of good requests is served, too");
    }
}

/// Promise: limit-queues
#[test]
fn many_requests_for_one_key_do_not_slow_another_key() {
    let site = Site::new();
    let (storming, quiet) = (site.key(3).1, site.key(100_000).1);
    let served = site.serve();
    let mut numbers = 0..;
    // A machine that does other things as well may be slow by itself, once or twice.
    for attempt in 1.. {
        let alone = median(&served, &quiet, &mut numbers);
        let over = AtomicBool::new(false);
        let (beside, storm) = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..STORM)
                .map(|number| {
                    let (over, storming, listen) = (&over, &storming, served.listen);
                    scope.spawn(move || {
                        let (mut client, mut asked) = (Client::new(listen), 0_u32);
                        while !over.load(Ordering::Relaxed) {
                            let who = Registrant::new(1_000_000 * number + asked % 5, 1_000_000 * number + asked % 5);
                            let answer = client.ask("PUT", &who.path(), &[], Some(&who.body(storming))).unwrap();
                            assert!([200, 201, 409].contains(&answer.status), "{answer:?}");
                            asked += 1;
                        }
                        asked
                    })
                })
                .collect();
            let ending = Ending(&over);
            let beside = median(&served, &quiet, &mut numbers);
            drop(ending);
            (beside, clients.into_iter().map(|client| client.join().unwrap()).sum::<u32>())
        });
        println!("median alone: {alone:?}, beside a storm of {storm} requests with another key: {beside:?}");
        if beside <= alone * 5 + JITTER {
            return;
        }
        assert!(attempt < 3, "three times too slow: {beside:?} instead of {alone:?}");
    }
}

/// The middle of how long a PUT takes.
fn median(served: &Served, key: &LicenseKey, numbers: &mut impl Iterator<Item = u32>) -> Duration {
    let mut client = Client::new(served.listen);
    let mut taken: Vec<Duration> = numbers
        .take(if soak() { 2000 } else { 200 })
        .map(|number| {
            let who = Registrant::new(0x4000_0000 + number, 0x4000_0000 + number);
            let began = Instant::now();
            let answer = client.ask("PUT", &who.path(), &[], Some(&who.body(key))).unwrap();
            assert_eq!(answer.status, 201, "{answer:?}");
            began.elapsed()
        })
        .collect();
    taken.sort();
    taken[taken.len() / 2]
}

/// A PUT on a connection of its own, sent and not yet answered.
fn asked(served: &Served, number: u32, key: &LicenseKey) -> TcpStream {
    let who = Registrant::new(number, number);
    let body = who.body(key).to_string();
    let mut stream = connect(served.listen);
    let length = body.len();
    let request = format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}", who.path());
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn is_answered(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match peeked {
        Ok(length) => length > 0,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

const CROWD: u32 = 800;
const STORM: u32 = 8;
/// What two processors that are busy with nine clients and a backend may add.
const JITTER: Duration = Duration::from_millis(20);
