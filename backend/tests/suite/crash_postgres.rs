//! Under load, nodes are killed, the database is killed, or a standby takes over: what was answered is kept.
//!
//! The clients and their books are in `books`. An unknown outcome is answered with 503, and the request is sent again unchanged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::books::{Clerk, Key, books_agree};
use els_testkit::cluster::{Cluster, name};
use els_testkit::http::Client;
use els_testkit::site::{Served, Site};
use els_testkit::sweep::{Dice, soak, within_a_minute};

/// Promise: nodes-nothing-lost
#[test]
fn nodes_that_are_killed_in_turn_lose_nothing() {
    let rounds = if soak() { 100 } else { 8 };
    let site = Site::on_postgres(Cluster::shared().database());
    let keys = keys(&site);
    let mut clerks = clerks(&keys);
    let mut nodes = vec![site.serve(), site.serve()];
    let mut dice = Dice(11);
    let (mut answered, mut unknown) = (0, 0);
    for round in 0..rounds {
        let victim = nodes.remove(0);
        let survivor = nodes[0].listen;
        let pause = Duration::from_millis(50 + u64::from(dice.roll(250)));
        answered += storm(&mut clerks, &[victim.listen, survivor], || {
            std::thread::sleep(pause);
            victim.kill();
            // Those of the other node go on a little, and end with their own word.
            std::thread::sleep(Duration::from_millis(30));
        });
        nodes.push(site.serve());
        unknown += settle(&mut clerks, &[nodes[0].listen, nodes[1].listen]);
        books_agree(nodes[round % 2].listen, &keys, &clerks);
        site.check();
    }
    look_at_all(&mut clerks, nodes[0].listen);
    println!("node kills: {rounds}, answered: {answered}, asked again: {unknown}, lost: 0");
    assert!(answered > 10 * rounds as u64, "{answered}");
}

/// Promise: nodes-nothing-lost
#[test]
fn a_database_that_crashes_under_two_nodes_loses_nothing_that_was_answered() {
    let rounds = if soak() { 60 } else { 5 };
    let mut cluster = Cluster::with(&[]);
    let site = Site::on_postgres(cluster.database());
    let keys = keys(&site);
    let mut clerks = clerks(&keys);
    let nodes = [site.serve(), site.serve()];
    let listen = [nodes[0].listen, nodes[1].listen];
    let mut dice = Dice(13);
    let (mut answered, mut unknown) = (0, 0);
    for round in 0..rounds {
        let pause = Duration::from_millis(50 + u64::from(dice.roll(250)));
        answered += storm(&mut clerks, &listen, || {
            std::thread::sleep(pause);
            cluster.kill();
        });
        cluster.start();
        nodes.iter().for_each(until_ready);
        unknown += settle(&mut clerks, &listen);
        books_agree(listen[round % 2], &keys, &clerks);
        site.check();
    }
    look_at_all(&mut clerks, listen[1]);
    println!("database crashes: {rounds}, answered: {answered}, asked again: {unknown}, lost: 0");
    assert!(answered > 10 * rounds as u64, "{answered}");
}

/// Promise: nodes-nothing-lost
#[test]
fn a_standby_takes_over_in_the_middle_of_a_storm_and_has_everything_that_was_answered() {
    let rounds = if soak() { 10 } else { 1 };
    let mut primary = Cluster::with(&[]);
    let (mut answered, mut unknown) = (0, 0);
    let database = name(&primary.database()).to_owned();
    let first = Site::on_postgres(primary.url(&database));
    let keys = keys(&first);
    let mut clerks = clerks(&keys);
    for round in 0..rounds {
        let standby = Cluster::standby_of(&primary, "standby");
        primary.reconfigure(&["synchronous_standby_names = 'standby'"]);
        let both =
            format!("postgres://els@127.0.0.1:{},127.0.0.1:{}/{database}?sslmode=disable", primary.port, standby.port);
        let site = Site::on_postgres(both);
        let nodes = [site.serve(), site.serve()];
        let listen = [nodes[0].listen, nodes[1].listen];
        // What they remember from now on is of the primary.
        settle(&mut clerks, &listen);
        answered += storm(&mut clerks, &listen, || {
            std::thread::sleep(Duration::from_millis(400));
            primary.kill();
        });
        standby.promote();
        standby.reconfigure(&["synchronous_standby_names = ''"]);
        nodes.iter().for_each(until_ready);
        unknown += settle(&mut clerks, &listen);
        books_agree(listen[round % 2], &keys, &clerks);
        site.check();
        look_at_all(&mut clerks, listen[0]);
        drop(nodes);
        primary = standby;
    }
    println!("failovers: {rounds}, answered: {answered}, asked again: {unknown}, lost: 0");
    assert!(answered > 20 * rounds as u64, "{answered}");
}

/// One key that is always full, one that is never.
fn keys(site: &Site) -> Vec<Key> {
    [6, 100_000].map(|seats| Key::new(site.key(seats).1, seats)).into()
}

fn clerks(keys: &[Key]) -> Vec<Clerk<'_>> {
    (0..CLERKS)
        .map(|number| {
            let mut clerk = Clerk::new(number, keys);
            clerk.bears_unavailable = true;
            clerk
        })
        .collect()
}

/// All clerks work, in turn at one of the nodes each, until an answer is lost; `meanwhile` sees to that. Says how many came.
fn storm(clerks: &mut [Clerk<'_>], nodes: &[std::net::SocketAddr], meanwhile: impl FnOnce()) -> u64 {
    let answered = AtomicU64::new(0);
    let enough = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (number, clerk) in clerks.iter_mut().enumerate() {
            let (listen, answered, enough) = (nodes[number % nodes.len()], &answered, &enough);
            scope.spawn(move || {
                answered.fetch_add(clerk.work_until(Client::new(listen), enough), Ordering::Relaxed);
            });
        }
        meanwhile();
        enough.store(true, Ordering::Relaxed);
    });
    answered.into_inner()
}

fn settle(clerks: &mut [Clerk<'_>], nodes: &[std::net::SocketAddr]) -> u64 {
    // At the other node than the one where it worked.
    let settle = |(number, clerk): (usize, &mut Clerk<'_>)| clerk.settle(nodes[(number + 1) % nodes.len()]);
    clerks.iter_mut().enumerate().map(settle).sum()
}

fn look_at_all(clerks: &mut [Clerk<'_>], listen: std::net::SocketAddr) {
    clerks.iter_mut().for_each(|clerk| clerk.look_at_all(listen));
}

fn until_ready(node: &Served) {
    within_a_minute(|| {
        let answer = Client::new(node.admin).ask("GET", "/readyz", &[], None).ok()?;
        (answer.status == 200).then_some(())
    });
}

const CLERKS: u32 = 4;
