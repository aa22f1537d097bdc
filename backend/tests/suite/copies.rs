//! `els-backend copy` and `els-backend backup`: a site moves to another database, and its machines keep their seats.

use std::process::Output;

use els_testkit::cluster::Cluster;
use els_testkit::http::{Client, Registrant};
use els_testkit::site::Site;

/// Promise: copy-moves-all
#[test]
fn the_copy_command_moves_a_site_that_is_not_served() {
    let from = Site::new();
    let (_, key) = from.key(5);
    let served = from.serve();
    let who = Registrant::new(1, 1);
    let put = |listen| Client::new(listen).ask("PUT", &who.path(), &[], Some(&who.body(&key))).unwrap();
    assert_eq!(put(served.listen).status, 201);
    let to = Site::on_postgres(Cluster::shared().database());
    let copy = || from.command(["copy", "--to", &to.url()]).output().unwrap();
    let refused = copy();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("stop `els-backend serve` first"), "{}", text(&refused));
    assert!(served.stop().success());
    let done = copy();
    assert!(done.status.success() && text(&done).contains("1 registrations"), "{}", text(&done));
    // The machine goes on at the new place, with the seat that it has.
    let served = to.serve();
    assert_eq!(put(served.listen).status, 200);
    to.check();
    // Passwords need not be typed: URLs come from files.
    let (file, other) = (from.folder().join("to"), from.folder().join("from"));
    std::fs::write(&file, to.url()).unwrap();
    std::fs::write(&other, from.url()).unwrap();
    let again = from.command([
        "copy".as_ref(),
        "--from-file".as_ref(),
        other.as_os_str(),
        "--to-file".as_ref(),
        file.as_os_str(),
    ]);
    let again = { again }.output().unwrap();
    assert!(text(&again).contains("the database to fill is not empty"), "{}", text(&again));
    for wrong in [&["copy"][..], &["copy", "--to", "mysql://x"], &["copy", "--to", "sqlite:///a", "--to-file", "b"]] {
        assert_eq!(from.command(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}

/// Promise: backup-postgres
#[test]
fn a_backup_of_a_postgresql_is_a_file_that_a_backend_serves_from() {
    let site = Site::on_postgres(Cluster::shared().database());
    let (_, key) = site.key(5);
    let served = site.serve();
    let who = Registrant::new(1, 1);
    let put = |listen| Client::new(listen).ask("PUT", &who.path(), &[], Some(&who.body(&key))).unwrap();
    assert_eq!(put(served.listen).status, 201);
    let file = site.folder().join("backup.db");
    let done = site.command(["backup".as_ref(), file.as_os_str()]).output().unwrap();
    assert!(done.status.success(), "{}", text(&done));
    drop(served);
    let restored = Site::at(format!("sqlite://{}", file.display()));
    restored.check();
    assert_eq!(put(restored.serve().listen).status, 200);
    let ids = |site: &Site| text(&site.command(["find", &who.id.to_string(), "--json"]).output().unwrap());
    assert_eq!(ids(&site), ids(&restored));
}

fn text(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}
