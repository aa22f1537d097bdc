//! The roles of docs/vendor/operations.md: one owns the tables, the other may do only what serving needs.

use std::process::Output;

use super::nodes::{ask, gate, put};
use els_testkit::cluster::{Cluster, name};
use els_testkit::http::Registrant;
use els_testkit::site::Site;

/// The grants, as the page has them.
fn grants() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vendor/operations.md")).unwrap();
    let after = page.split_once("<!-- grants -->").expect("the grants are marked").1;
    after.split("```").nth(1).unwrap().trim_start_matches("sql").to_owned()
}

/// Promise: postgres-grants
#[test]
fn a_role_with_the_documented_grants_can_serve_and_run_commands_but_not_change_the_schema() {
    let cluster = Cluster::with(&[]);
    for role in ["els_owner", "els_node"] {
        cluster.sql("postgres", &format!("CREATE ROLE {role} LOGIN"));
    }
    cluster.sql("postgres", "CREATE DATABASE of_roles OWNER els_owner");
    let url = |role: &str| cluster.url("of_roles").replace("user=els", &format!("user={role}"));
    let owner = Site::on_postgres(url("els_owner"));
    cluster.sql_as("els_owner", "of_roles", &grants());
    let site = Site::at(url("els_node"));
    assert_eq!(name(&site.url()), "of_roles");

    let node = site.serve();
    let (key_id, key) = site.key(2);
    let (first, second, clone) = (Registrant::new(1, 1), Registrant::new(2, 2), Registrant::new(3, 2));
    assert_eq!([put(&node, &first, &key), put(&node, &second, &key)], [201, 201]);
    assert_eq!(put(&node, &clone, &key), 200, "the seat moves");
    assert_eq!(gate(&node, &first), 204);
    assert_eq!(ask(&node, "DELETE", &first.path(), &first.basic()), 204);
    assert_eq!(ask(&node, "DELETE", &Registrant::new(9, 9).path(), &Registrant::new(9, 9).basic()), 204);
    for line in [
        &["key", "update", &key_id, "--seats", "3"][..],
        &["key", "update", &key_id, "--trust-again"],
        &["key", "suspend", &key_id],
        &["key", "resume", &key_id],
        &["key", "rotate", &key_id],
        &["key", "list"],
        &["seat", "list", &key_id],
        &["seat", "release", &clone.id.to_string()],
        &["find", &key_id],
        &["events"],
        &["check"],
    ] {
        succeeds(&site.command(line).output().unwrap(), line);
    }
    let file = site.folder().join("backup.db");
    let backup = site.command(["backup".as_ref(), file.as_os_str()]).output().unwrap();
    succeeds(&backup, &["backup"]);
    // Last uses are written at the end, and nothing was refused on the way.
    let log = node.stop_and_log();
    assert!(log.contains("\"stopped\"") && !log.contains("permission denied"), "{log}");
    let said = cluster.sql("of_roles", "SELECT count(last_seen_at) FROM registrations");
    assert_eq!(said, "1");
    assert!(cluster.refuses("els_node", "of_roles", "ALTER TABLE keys ADD oversold INT"));
    assert!(cluster.refuses("els_node", "of_roles", "DELETE FROM events"));
    drop(owner);
}

/// Promise: copy-moves-all
#[test]
fn a_database_that_a_node_uses_as_another_role_is_not_copied() {
    let cluster = Cluster::with(&[]);
    cluster.sql("postgres", "CREATE ROLE mover LOGIN");
    let site = Site::on_postgres(cluster.database());
    cluster.sql(name(&site.url()), "GRANT SELECT ON ALL TABLES IN SCHEMA public TO mover");
    let mover = site.url().replace("user=els", "user=mover");
    let to = format!("sqlite://{}", site.folder().join("moved.db").display());
    let copy = || site.command(["copy", "--from", &mover, "--to", &to]).output().unwrap();
    let node = site.serve();
    let refused = copy();
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && words.contains("end every `serve` first"), "{words}");
    assert!(node.stop().success());
    els_testkit::sweep::within_a_minute(|| copy().status.success().then_some(()));
}

fn succeeds(output: &Output, line: &[&str]) {
    assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
}
