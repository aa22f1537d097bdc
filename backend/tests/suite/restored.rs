//! A site is restored from a backup, as in docs/vendor/operations.md: what the machines find that changed since then.
//!
//! Machine A registered before the backup and unregistered after it; machine B registered after it.

use std::process::Command;

use els_protocol::LicenseKey;

use super::nodes::{ask, gate, put};
use els_testkit::cluster::{Cluster, name};
use els_testkit::http::Registrant;
use els_testkit::site::{Served, Site};

/// The two machines, and what they did around a backup.
struct Since {
    a: Registrant,
    b: Registrant,
    key: LicenseKey,
}

impl Since {
    fn the_backup(site: &Site, node: &Served, back_up: impl FnOnce()) -> Self {
        let (_, key) = site.key(2);
        let (a, b) = (Registrant::new(1, 1), Registrant::new(2, 2));
        assert_eq!(put(node, &a, &key), 201);
        back_up();
        assert_eq!(put(node, &b, &key), 201);
        assert_eq!(ask(node, "DELETE", &a.path(), &a.basic()), 204);
        assert_eq!((gate(node, &a), gate(node, &b)), (401, 204));
        Since { a, b, key }
    }

    /// What they find at a backend that knows what the backup knew.
    fn is_undone_at(&self, node: &Served) {
        let Since { a, b, key } = self;
        // A has its seat back, which it does not know of; B has none, and its request as it was takes one.
        assert_eq!((gate(node, a), gate(node, b)), (204, 401));
        assert_eq!(ask(node, "GET", &a.path(), &a.basic()), 200);
        assert_eq!(ask(node, "GET", &b.path(), &b.basic()), 404);
        assert_eq!(put(node, b, key), 201);
        assert_eq!((ask(node, "GET", &b.path(), &b.basic()), gate(node, b)), (200, 204));
        // What A does next does not matter: it has one seat or none.
        let again = Registrant::new(3, 1);
        assert_eq!(put(node, &again, key), 200, "the seat that it has");
        assert_eq!((gate(node, &again), gate(node, a)), (204, 204), "the superseded id works for an hour");
        assert_eq!(ask(node, "DELETE", &a.path(), &a.basic()), 204);
        els_testkit::sweep::within_a_minute(|| (gate(node, a) == 401).then_some(()));
        assert_eq!(gate(node, &again), 204, "the seat stays with the newer id");
        assert_eq!(put(node, &Registrant::new(4, 4), key), 409, "two of two");
    }
}

/// Promise: restore
#[test]
fn a_restored_file_has_what_the_backup_has() {
    let site = Site::new();
    let node = site.serve();
    let backup = site.folder().join("backup.db");
    let since = Since::the_backup(&site, &node, || ok(site.command(["backup".as_ref(), backup.as_os_str()])));
    assert!(node.stop().success());
    std::fs::rename(&backup, site.database()).unwrap();
    site.check();
    since.is_undone_at(&site.serve());
    site.check();
}

/// Promise: restore
#[test]
fn a_backup_of_a_postgresql_is_copied_back_into_a_new_database() {
    let site = Site::on_postgres(Cluster::shared().database());
    let node = site.serve();
    let backup = site.folder().join("backup.db");
    let since = Since::the_backup(&site, &node, || ok(site.command(["backup".as_ref(), backup.as_os_str()])));
    assert!(node.stop().success());
    let restored = Site::on_postgres(Cluster::shared().database());
    let from = format!("sqlite://{}", backup.display());
    ok(restored.command(["copy", "--from", &from, "--to", &restored.url()]));
    since.is_undone_at(&restored.serve());
    restored.check();
}

/// Promise: restore-running-node
#[test]
fn a_node_that_runs_while_its_postgresql_is_restored_forgets_its_memory() {
    let cluster = Cluster::with(&[]);
    let site = Site::on_postgres(cluster.database());
    let database = name(&site.url()).to_owned();
    let nodes = [site.serve(), site.serve()];
    let dump = site.folder().join("dump");
    let mut dumped = Vec::new();
    let since = Since::the_backup(&site, &nodes[0], || dumped = cluster.dump(&database));
    std::fs::write(&dump, dumped).unwrap();
    // Both nodes know of B, and that A is gone.
    assert_eq!((gate(&nodes[1], &since.a), gate(&nodes[1], &since.b)), (401, 204));
    // Restored beside it, and put in its place: as docs/vendor/operations.md has it.
    cluster.sql("postgres", "CREATE DATABASE restored");
    cluster.restore("restored", &dump);
    let beside = Site::at(cluster.url("restored"));
    beside.check();
    swap(&cluster, &database);
    // More happens from then on than happened since the backup, so that the numbers of the audit log do not show the restore.
    for number in 0..20 {
        ok(site.command(["key", "create", "--seats", "1", "--expires", "2099-12-31", "--note", &number.to_string()]));
    }
    for node in &nodes {
        els_testkit::sweep::within_a_minute(|| (gate(node, &since.b) == 401).then_some(()));
        assert_eq!(gate(node, &since.a), 204);
    }
    since.is_undone_at(&nodes[1]);
    site.check();
}

/// Puts the database `restored` in the place of this one, under the nodes that use it.
fn swap(cluster: &Cluster, database: &str) {
    cluster.sql("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"));
    cluster.sql(
        "postgres",
        &format!("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = '{database}'"),
    );
    cluster.sql("postgres", &format!("ALTER DATABASE {database} RENAME TO before"));
    cluster.sql("postgres", &format!("ALTER DATABASE restored RENAME TO {database}"));
}

fn ok(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
