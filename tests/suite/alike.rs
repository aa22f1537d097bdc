//! Machines that look alike, from end to end: containers of one image, copies of a disk, new hardware, shared hardware ids; and
//! what comes out once both of two turn out to be alive. The backend's clock is the test's to set.
//!
//! The rules themselves, in every small case: `who_is_who` in `ledger/tests/suite/`.

use std::path::Path;
use std::process::Command;

use els_testkit::sweep::within_a_minute;
use els_testkit::{Backend, Key, Machine, Repository, Settings, program, run};

const MACHINE_ID: &str = "/etc/machine-id";
const UUID: &str = "/sys/class/dmi/id/product_uuid";
const CONTAINER: &str = "/run/.containerenv";
const HOUR: u32 = 3600;

/// What is alike in two machines.
#[derive(Clone, Copy)]
enum Alike {
    /// Containers of one image: one machine id, no hardware id.
    Image,
    /// A disk that was copied to other hardware before it was registered: one machine id.
    Disk,
    /// The same, and the second says that it is the first, moved.
    Moved,
    /// One hardware id, as after a reinstallation, or as some mainboards and hypervisors have it.
    Hardware,
    /// A hardware id that is known to be worth nothing.
    BogusHardware,
    /// Both ids: a machine that lost its state, or a perfect clone.
    Both,
}

/// A pair of machines, and what has to come of it.
struct Row {
    name: &'static str,
    alike: Alike,
    /// Seats of their key.
    seats: u32,
    /// Exit code of the second machine's registration, and seats used then.
    second: (i32, usize),
    /// After the hour, once the first has shown itself: seats used, and exit codes of both machines' `--status`.
    after: (usize, i32, i32),
    /// Exit code of a third one like them, then.
    third: i32,
}

const ROWS: [Row; 9] = [
    Row {
        name: "two containers, two seats",
        alike: Alike::Image,
        seats: 2,
        second: (0, 1),
        after: (2, 0, 0),
        third: 6,
    },
    Row {
        name: "two containers, three seats",
        alike: Alike::Image,
        seats: 3,
        second: (0, 1),
        after: (2, 0, 0),
        third: 0,
    },
    Row {
        name: "two containers, one seat",
        alike: Alike::Image,
        seats: 1,
        second: (0, 1),
        after: (1, 0, 11),
        third: 6,
    },
    Row { name: "a copied disk, two seats", alike: Alike::Disk, seats: 2, second: (0, 2), after: (2, 0, 0), third: 6 },
    Row { name: "a copied disk, one seat", alike: Alike::Disk, seats: 1, second: (6, 1), after: (1, 0, 3), third: 6 },
    Row { name: "said to be moved", alike: Alike::Moved, seats: 1, second: (0, 1), after: (1, 0, 11), third: 6 },
    Row {
        name: "shared hardware, three seats",
        alike: Alike::Hardware,
        seats: 3,
        second: (0, 1),
        after: (2, 0, 0),
        third: 0,
    },
    Row { name: "bogus hardware", alike: Alike::BogusHardware, seats: 2, second: (0, 2), after: (2, 0, 0), third: 6 },
    Row {
        name: "the state is lost, and the old one is alive",
        alike: Alike::Both,
        seats: 1,
        second: (0, 1),
        after: (1, 0, 11),
        third: 6,
    },
];

impl Row {
    fn machine(&self, backend: &Backend, repository: &Repository, first: Option<&Machine>) -> Machine {
        let machine = Machine::configured_for(backend, repository);
        let same = |path: &str| {
            if let Some(first) = first {
                machine.write(path, &first.read(path));
            }
        };
        match self.alike {
            Alike::Image => {
                machine.write(CONTAINER, "");
                same(MACHINE_ID);
            }
            Alike::Disk | Alike::Moved => same(MACHINE_ID),
            Alike::Hardware => same(UUID),
            Alike::BogusHardware => machine.write(UUID, "03000200-0400-0500-0006-000700080009\n"),
            Alike::Both => {
                same(MACHINE_ID);
                same(UUID);
            }
        }
        machine
    }

    fn register(&self, machine: &Machine, key: &Key, other: bool) -> i32 {
        let moved = if other && matches!(self.alike, Alike::Moved) { &["--moved"][..] } else { &[] };
        let run = machine.agent(&[&["--key", &key.key], moved].concat());
        run.code.unwrap_or_else(|| panic!("{}: {run}", self.name))
    }
}

/// Seats that are used: the list also has those whose seat another one has now.
fn used(backend: &Backend, key: &Key) -> usize {
    backend.seats(key).iter().filter(|seat| seat["state"] == "active").count()
}

/// What the gate says to a machine that fetches its metadata.
fn gate(backend: &Backend, machine: &Machine) -> String {
    let login =
        format!("{}:{}", machine.read("/etc/dnf/vars/els_id").trim(), machine.read("/etc/dnf/vars/els_token").trim());
    let mut curl = Command::new(program("curl"));
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--user", &login, "--cacert"]);
    curl.arg(Path::new(&backend.ca_file()));
    run(curl.arg(format!("{}/repo/almalinux/9/updates/x86_64/repodata/repomd.xml", backend.url()))).succeeds().stdout
}

/// Promise: seat-match-rules
/// Promise: seat-superseded-hour
#[test]
fn machines_that_look_alike_share_a_seat_until_both_turn_out_to_be_alive() {
    let repository = Repository::shared();
    let backend = Settings::default().repository(&repository.root()).clock().start();
    let pairs: Vec<(&Row, Key, Machine, Machine)> = ROWS
        .iter()
        .map(|row| {
            let key = backend.key(row.seats);
            let first = row.machine(&backend, &repository, None);
            assert_eq!(row.register(&first, &key, false), 0, "{}", row.name);
            let second = row.machine(&backend, &repository, Some(&first));
            let exit = row.register(&second, &key, true);
            assert_eq!((exit, used(&backend, &key)), row.second, "{}", row.name);
            assert_eq!(gate(&backend, &first), "200", "{}", row.name);
            (row, key, first, second)
        })
        .collect();

    backend.later(HOUR - 60);
    for (row, key, first, _) in &pairs {
        assert_eq!(gate(&backend, first), "200", "{}: within the hour", row.name);
        assert_eq!(used(&backend, key), row.second.1, "{}: nothing is decided yet", row.name);
    }

    backend.later(HOUR + 60);
    for (row, key, first, second) in &pairs {
        // At the gate or by a question: both are a use.
        if row.seats % 2 == 1 {
            gate(&backend, first);
        }
        let statuses = [first, second].map(|machine| machine.agent(&["--status"]).code.expect("an exit"));
        let (seats, of_first, of_second) = row.after;
        assert_eq!(statuses, [of_first, of_second], "{}", row.name);
        assert_eq!(used(&backend, key), seats, "{}: seats", row.name);
        let third = row.machine(&backend, &repository, Some(first));
        assert_eq!(row.register(&third, key, true), row.third, "{}: a third", row.name);
        assert!(used(&backend, key) <= row.seats as usize, "{}", row.name);
    }
    backend.agrees_with_itself();
}

#[test]
fn a_replaced_container_keeps_one_seat_for_as_long_as_it_is_replaced() {
    let repository = Repository::shared();
    let backend = Settings::default().repository(&repository.root()).clock().start();
    let key = backend.key(1);
    let row = &ROWS[0];
    let mut machine = row.machine(&backend, &repository, None);
    row.register(&machine, &key, false);
    for replaced in 1..6 {
        backend.later(replaced * 2 * HOUR);
        let next = row.machine(&backend, &repository, Some(&machine));
        assert_eq!(row.register(&next, &key, true), 0);
        machine = next;
        assert_eq!((gate(&backend, &machine), used(&backend, &key)), ("200".into(), 1));
    }
    backend.agrees_with_itself();
}

/// Promise: seat-two-alive
#[test]
fn thirty_machines_of_one_hardware_id_never_lose_the_gate_on_a_key_with_a_seat_for_each() {
    let repository = Repository::shared();
    let backend = Settings::default().repository(&repository.root()).clock().start();
    let key = backend.key(30);
    let row = &ROWS[6];
    let first = row.machine(&backend, &repository, None);
    assert_eq!(row.register(&first, &key, false), 0);
    let mut machines = vec![first];
    for _ in 1..30 {
        let next = row.machine(&backend, &repository, machines.first());
        assert_eq!(row.register(&next, &key, false), 0);
        machines.push(next);
    }
    // The seat moved sixteen times. The next machine took one of its own, and so did all after it: none could be one of two.
    assert_eq!(used(&backend, &key), 14);
    for hours in [2, 3, 8 * 24] {
        backend.later(hours * HOUR);
        for machine in &machines {
            assert_eq!(gate(&backend, machine), "200", "{hours} hours later");
        }
        assert_eq!(used(&backend, &key), 30);
    }
    backend.agrees_with_itself();
}

/// Promise: seat-two-alive
#[test]
fn an_old_disk_that_is_started_on_the_third_day_is_refused_and_the_new_machine_stays() {
    let repository = Repository::shared();
    let backend = Settings::default().repository(&repository.root()).clock().start();
    let key = backend.key(1);
    let row = &ROWS[6];
    let old = row.machine(&backend, &repository, None);
    assert_eq!(row.register(&old, &key, false), 0);
    let new = row.machine(&backend, &repository, Some(&old));
    assert_eq!(row.register(&new, &key, false), 0);
    backend.later(3 * 24 * HOUR);
    // The gate learns of the move within seconds.
    within_a_minute(|| (gate(&backend, &old) == "401").then_some(()));
    assert_eq!((gate(&backend, &new), gate(&backend, &old)), ("200".into(), "401".into()));
    assert_eq!((used(&backend, &key), new.agent(&["--status"]).code), (1, Some(0)));
    backend.agrees_with_itself();
}
