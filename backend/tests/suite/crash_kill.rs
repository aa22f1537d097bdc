//! The backend is killed many times during its work on one database: what it answered is kept.
//!
//! Clients of all kinds ask in parallel (`books`). Then SIGKILL, a new start on the same file, and the books are compared with
//! what the backend knows.
//!
//! SIGKILL loses nothing that the kernel has in memory. That commits reach the disk before they are answered is the task of
//! `synchronous = FULL`; a test of `ledger/src/sqlite/open.rs` checks that it is set.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::books::{Clerk, Key, books_agree};
use els_testkit::http::Client;
use els_testkit::site::{SERVE, Served, Site};
use els_testkit::sweep::{Dice, soak};

/// Promise: seat-limit-crashes
/// Promise: seat-durable
#[test]
fn answered_changes_survive_a_kill_and_no_seat_is_lost_or_counted_twice() {
    let kills = if soak() { 300 } else { 20 };
    let site = Site::new();
    // One key that is always full, one that is never.
    let keys: Vec<Key> = [6, 100_000].map(|seats| Key::new(site.key(seats).1, seats)).into();
    let mut dice = Dice(7);
    let mut clerks: Vec<Clerk<'_>> = (0..CLERKS).map(|number| Clerk::new(number, &keys)).collect();
    let answered = AtomicU64::new(0);
    let (mut unknown, mut at_start) = (0, 0);
    for round in 0..kills {
        if round % 4 == 3 {
            // Killed while it opens the database that another one left behind, wherever that is.
            let served = Served::spawn(site.command(SERVE));
            std::thread::sleep(Duration::from_millis(u64::from(dice.roll(60))));
            served.kill();
            at_start += 1;
        }
        let served = site.serve();
        for clerk in &mut clerks {
            unknown += clerk.settle(served.listen);
        }
        books_agree(served.listen, &keys, &clerks);
        site.check();

        let alive = Duration::from_millis(20 + u64::from(dice.roll(250)));
        std::thread::scope(|scope| {
            let listen = served.listen;
            for clerk in &mut clerks {
                let answered = &answered;
                scope.spawn(move || {
                    answered.fetch_add(clerk.work(Client::new(listen)), Ordering::Relaxed);
                });
            }
            std::thread::sleep(alive);
            served.kill();
        });
    }
    let served = site.serve();
    for clerk in &mut clerks {
        unknown += clerk.settle(served.listen);
        clerk.look_at_all(served.listen);
    }
    books_agree(served.listen, &keys, &clerks);
    assert!(served.stop().success());
    site.check();
    let answered = answered.into_inner();
    println!(
        "kills: {kills} under load and {at_start} at the start, answered: {answered}, lost: 0, counted twice: 0; \
         answers that did not come and were asked for again: {unknown}"
    );
    assert!(answered >= kills * 10, "the backend was killed under load");
}

const CLERKS: u32 = 4;
