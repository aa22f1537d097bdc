//! PostgreSQL changes its primary under a running node: what is no longer the primary is not "the database".
//!
//! Two real servers, and a relay for what a switch, a virtual address or a bad network does to connections.

use std::time::{Duration, Instant};

use els_protocol::LicenseKey;

use super::nodes::{gate, put};
use els_testkit::cluster::{Cluster, name};
use els_testkit::http::{Client, Registrant};
use els_testkit::relay::Relay;
use els_testkit::site::{Served, Site};
use els_testkit::sweep::within_a_minute;

/// A primary and its standby, a node, and a machine of each of two keys.
struct Switch {
    primary: Cluster,
    standby: Cluster,
    database: String,
    node: Served,
    /// The key id that is revoked at the new primary.
    goes: String,
    key: LicenseKey,
    machine: Registrant,
    /// The site at the new primary.
    after: Site,
}

impl Switch {
    /// `ports` are those of the URL, given the primary's and the standby's.
    fn prepared(ports: impl FnOnce(u16, u16) -> Vec<u16>, options: &[&str]) -> Self {
        let primary = Cluster::with(&[]);
        let database = name(&primary.database()).to_owned();
        let first = Site::on_postgres(primary.url(&database));
        let standby = Cluster::standby_of(&primary, "standby");
        let (goes, key) = first.key(1000);
        let hosts: Vec<String> =
            ports(primary.port, standby.port).iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let site = Site::at(format!("postgres://els@{}/{database}?sslmode=disable", hosts.join(",")));
        let node = Served::spawn(site.command(SERVE.iter().chain(options))).ready();
        let machine = Registrant::new(1, 1);
        assert_eq!((put(&node, &machine, &key), gate(&node, &machine)), (201, 204));
        within_a_minute(|| {
            let count = "SELECT count(*) FROM registrations";
            (standby.sql(&database, count) == "1").then_some(())
        });
        let after = Site::at(standby.url(&database));
        Switch { primary, standby, database, node, goes, key, machine, after }
    }

    /// The node works with the standby that was promoted at `began`. Returns how long it took.
    fn follows(&self, began: Instant, within: Duration) -> Duration {
        let Switch { node, goes, key, machine, after, .. } = self;
        // A registration that is answered is one at the new primary.
        let mut number = 10;
        let newest = within_a_minute(|| {
            number += 1;
            let newest = Registrant::new(number, number);
            (put(node, &newest, key) == 201).then_some(newest)
        });
        let count = format!("SELECT count(*) FROM registrations WHERE id = '{}'", newest.id);
        assert_eq!(self.standby.sql(&self.database, &count), "1");
        let found = began.elapsed();
        after.line(&format!("key revoke {goes}")).succeeds();
        let revoked = Instant::now();
        within_a_minute(|| (gate(node, machine) == 403).then_some(()));
        assert!(revoked.elapsed() < Duration::from_secs(5), "revocation took {:?}", revoked.elapsed());
        assert!(found < within, "the new primary was found after {found:?}");
        after.check();
        found
    }
}

/// Promise: nodes-primary-alone
#[test]
fn a_primary_that_comes_back_as_a_standby_is_left_for_the_new_one() {
    let mut switch = Switch::prepared(|primary, standby| vec![primary, standby], &[]);
    switch.standby.promote();
    switch.primary.demote(&switch.standby);
    let found = switch.follows(Instant::now(), Duration::from_secs(10));
    println!("demoted primary: the new one is found after {found:?}");
}

/// Promise: nodes-primary-alone
#[test]
fn an_address_that_leads_to_the_new_primary_is_followed_though_old_connections_stay() {
    // The old primary is read-only, or it does not know of the new one and can still be written.
    for read_only in [true, false] {
        let mut relay = None;
        let switch = Switch::prepared(|primary, _| vec![relay.insert(Relay::to(primary)).port], &[]);
        switch.standby.promote();
        relay.unwrap().switch(switch.standby.port);
        let began = Instant::now();
        if read_only {
            switch.primary.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
            switch.primary.sql("postgres", "SELECT pg_reload_conf()");
        } else {
            std::thread::sleep(Duration::from_secs(4));
        }
        let found = switch.follows(began, Duration::from_secs(10));
        println!("switched address, read-only {read_only}: the new primary is found after {found:?}");
    }
}

/// Promise: nodes-primary-alone
#[test]
fn a_network_that_swallows_packets_costs_seconds_where_there_is_another_server() {
    let mut relay = None;
    let switch = Switch::prepared(|primary, standby| vec![relay.insert(Relay::to(primary)).port, standby], &[]);
    relay.unwrap().swallow();
    switch.standby.promote();
    let found = switch.follows(Instant::now(), Duration::from_secs(30));
    println!("swallowed packets: the new primary is found after {found:?}");
}

/// Promise: nodes-primary-alone
/// Promise: nodes-cut-off
#[test]
fn a_server_that_became_read_only_is_not_used_and_the_gate_closes_after_its_time() {
    let switch = Switch::prepared(|primary, _| vec![primary], &["--gate-stale", "5"]);
    let Switch { primary, node, machine, key, .. } = &switch;
    primary.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
    primary.sql("postgres", "SELECT pg_reload_conf()");
    let began = Instant::now();
    within_a_minute(|| (gate(node, machine) == 503).then_some(()));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(sync_age(node) >= 5);
    assert_eq!(put(node, &Registrant::new(2, 2), key), 503);
    primary.sql("postgres", "ALTER SYSTEM RESET default_transaction_read_only");
    primary.sql("postgres", "SELECT pg_reload_conf()");
    within_a_minute(|| (gate(node, machine) == 204).then_some(()));
    assert_eq!(put(node, &Registrant::new(3, 3), key), 201);
}

fn sync_age(node: &Served) -> u64 {
    let metrics = Client::new(node.admin).ask("GET", "/metrics", &[], None).unwrap().body;
    let metrics = String::from_utf8(metrics).unwrap();
    let line = metrics.lines().find(|line| line.starts_with("els_gate_sync_age_seconds ")).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
