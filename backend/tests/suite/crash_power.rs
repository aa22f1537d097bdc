//! Power failure: a change is on the disk before it is answered.
//!
//! SIGKILL keeps what the kernel has in memory; a power failure does not. So the test reads the order of system calls: between
//! a request that changes something and its answer, the log of the database is synchronised.

use els_testkit::backend_program;
use els_testkit::http::{Client, Registrant};
use els_testkit::site::{SERVE, Served, Site, on};
use els_testkit::sweep::within_a_minute;

/// Promise: seat-durable
#[test]
fn an_answer_is_sent_after_the_disk_has_the_change() {
    let site = Site::new();
    let (_, key) = site.key(10);
    let trace = site.folder().join("trace");
    let mut command = std::process::Command::new("strace");
    // -D: the backend stays this process's child, and gets its signals.
    command.args(["-D", "-f", "-qq", "-y", "-s", "16", "-e", "trace=fdatasync,fsync,recvfrom,sendto,writev", "-o"]);
    command.arg(&trace).arg(backend_program()).args(SERVE);
    on(&mut command, &site.url());
    let served = Served::spawn(command).ready();
    let who = Registrant::new(1, 1);
    let own = who.basic();
    let mut client = Client::new(served.listen);
    assert_eq!(client.ask("PUT", &who.path(), &[], Some(&who.body(&key))).unwrap().status, 201);
    assert_eq!(client.ask("DELETE", &who.path(), &[("Authorization", &own)], None).unwrap().status, 204);
    assert!(served.stop().success());

    // The tracer ends after what it traces.
    let trace = within_a_minute(|| {
        let trace = std::fs::read_to_string(&trace).unwrap();
        (trace.contains("HTTP/1.1 204") && trace.ends_with('\n')).then_some(trace)
    });
    for (request, answer) in [("\"PUT /v1", "\"HTTP/1.1 201"), ("\"DELETE /v1", "\"HTTP/1.1 204")] {
        let asked = trace.find(request).unwrap_or_else(|| panic!("no {request} in {trace}"));
        let answered = trace.find(answer).unwrap_or_else(|| panic!("no {answer} in {trace}"));
        let synced = |line: &str| line.contains("fdatasync(") || line.contains("fsync(");
        let between = &trace[asked..answered];
        assert!(between.lines().any(|line| synced(line) && line.contains("els.db-wal>")), "{request}: {between}");
    }
}
