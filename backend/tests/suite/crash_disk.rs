//! The disk of the database is full: a change that cannot be written is answered with 503, what was answered is kept, and when
//! there is space again the backend works as before.
//!
//! The test owns a small file system in a mount namespace that ends with it. That a damaged database is refused at the start is
//! a test of `ledger/src/sqlite/open.rs`.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use els_protocol::LicenseKey;
use els_protocol::wire::SeatList;
use tempfile::TempDir;

use els_testkit::backend_program;
use els_testkit::http::{Answer, Client, Registrant, bearer};
use els_testkit::site::{SERVE, Served, check, made_key, on};
use els_testkit::sweep::soak;

/// Promise: seat-outcome-unknown
#[test]
fn a_full_disk_is_answered_with_503_and_ends_when_there_is_space() {
    let disk = SmallDisk::new();
    let create = ["key", "create", "--json", "--expires", "2099-12-31", "--seats", "100000"];
    let (_, key) = made_key(&mut disk.command(&create));
    let mut books = Books { key, held: Vec::new(), numbers: 0 };
    let (mut refused, mut asked_again) = (0, 0);
    let times = if soak() { 40 } else { 3 };
    for time in 0..times {
        let served = Served::spawn(disk.command(&SERVE)).ready();
        // Once in a while there is a lot to write already.
        let lost = books.register(&served, 1 + time % 3 * 40);
        assert!(lost.is_empty(), "with space: {:?}", lost[0].1);
        disk.fill();
        let mut lost = Vec::new();
        // What lies ready in the log of the database is still used up.
        let first = books.numbers;
        while lost.is_empty() {
            lost = books.register(&served, 40);
            assert!(books.numbers - first < 5000, "the disk is full, and nobody notices");
        }
        lost.extend(books.register(&served, 40));
        let given_back = books.release_when_full(&served);
        for (_, answer) in lost.iter().chain(&given_back) {
            answer.assert_code("unavailable");
        }
        refused += lost.len() + given_back.len();
        books.all_is_known(&served);

        if time % 2 == 0 {
            // The same process goes on.
            disk.free();
            asked_again += books.ask_again(&served, lost, given_back);
            books.agree(&served);
            assert!(served.stop().success());
        } else {
            // Killed with a full disk, and started on it: it serves, or says why not; and nothing is lost.
            served.kill();
            match Served::spawn(disk.command(&SERVE)).ready_or_log() {
                Ok(served) => books.all_is_known(&served),
                Err(words) => assert!(words.contains("error: ") && words.contains("full"), "{words}"),
            }
            disk.free();
            let served = Served::spawn(disk.command(&SERVE)).ready();
            asked_again += books.ask_again(&served, lost, given_back);
            books.agree(&served);
            served.kill();
        }
        check(&mut disk.command(&["check"]));
    }
    let held = books.held.len();
    println!("disks filled: {times}, held: {held}, refused: {refused}, asked again: {asked_again}, lost: 0");
}

/// What was answered.
struct Books {
    key: LicenseKey,
    held: Vec<Registrant>,
    numbers: u32,
}

type Refused = Vec<(Registrant, Answer)>;

impl Books {
    /// So many machines ask for a seat, a few at a time. Those who got an answer but no seat.
    fn register(&mut self, served: &Served, count: u32) -> Refused {
        let numbers: Vec<u32> = (self.numbers + 1..=self.numbers + count).collect();
        self.numbers += count;
        let (key, listen) = (&self.key, served.listen);
        let answers: Refused = std::thread::scope(|scope| {
            let ask = move |part: Vec<u32>| {
                let mut client = Client::new(listen);
                let put = move |number: u32| {
                    let who = Registrant::new(number, number);
                    let answer = client.ask("PUT", &who.path(), &[], Some(&who.body(key))).unwrap();
                    (who, answer)
                };
                part.into_iter().map(put).collect::<Refused>()
            };
            let size = numbers.len().div_ceil(AT_ONCE);
            let hands: Vec<_> = numbers.chunks(size).map(|part| scope.spawn(move || ask(part.to_vec()))).collect();
            hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
        });
        let (given, refused): (Refused, Refused) = answers.into_iter().partition(|(_, answer)| answer.status == 201);
        self.held.extend(given.into_iter().map(|(who, _)| who));
        refused
    }

    /// A few machines give their seat back. Those who were not told that it is gone.
    fn release_when_full(&mut self, served: &Served) -> Refused {
        let mut client = Client::new(served.listen);
        let few = self.held.split_off(self.held.len().saturating_sub(5));
        let asked = few.into_iter().map(|who| {
            let answer = client.ask("DELETE", &who.path(), &[("Authorization", &who.basic())], None).unwrap();
            (who, answer)
        });
        asked.filter(|(_, answer)| answer.status != 204).collect()
    }

    /// Those whose outcome was not known send their request again, as it was.
    fn ask_again(&mut self, served: &Served, lost: Refused, given_back: Refused) -> usize {
        let count = lost.len() + given_back.len();
        let mut client = Client::new(served.listen);
        for (who, _) in lost {
            let answer = client.ask("PUT", &who.path(), &[], Some(&who.body(&self.key))).unwrap();
            assert!([200, 201].contains(&answer.status), "{answer:?}");
            self.held.push(who);
        }
        for (who, _) in given_back {
            let answer = client.ask("DELETE", &who.path(), &[("Authorization", &who.basic())], None).unwrap();
            assert_eq!(answer.status, 204, "{answer:?}");
        }
        count
    }

    /// Everyone who was answered that he has a seat has it, and gets his packages.
    fn all_is_known(&self, served: &Served) {
        let mut client = Client::new(served.listen);
        for who in &self.held {
            let own = who.basic();
            let answer = client.ask("GET", &who.path(), &[("Authorization", &own)], None).unwrap();
            assert_eq!(answer.status, 200, "a seat that was answered: {answer:?}");
            let headers = [("Authorization", own.as_str()), ("X-Original-URI", "/repo/almalinux/9/x")];
            assert_eq!(client.ask("GET", "/v1/repo-auth", &headers, None).unwrap().status, 204);
        }
    }

    fn agree(&self, served: &Served) {
        self.all_is_known(served);
        let headers = [("Authorization", &*bearer(&self.key))];
        let answer = Client::new(served.listen).ask("GET", "/v1/seats?limit=1", &headers, None).unwrap();
        let list: SeatList = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(list.seats.used, self.held.len() as u64, "nobody else has a seat, and nobody two");
    }
}

/// A small file system that only those see who are inside.
struct SmallDisk {
    holder: Child,
    folder: TempDir,
}

impl SmallDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Room for the log of the database, which grows to 4 MiB before it is written back, and for what tests write.
        // It lives as long as its standard input is open: no longer than this test, however that ends.
        let script = r#"mount -t tmpfs -o size=16m,mode=0700 tmpfs "$1" && echo there && exec cat"#;
        let mut unshare = Command::new("unshare");
        unshare.args(namespaces()).args(["--", "sh", "-ec", script, "sh"]).arg(folder.path());
        let mut holder = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "there\n", "a namespace of one's own needs root, or user namespaces");
        SmallDisk { holder, folder }
    }

    /// The backend's binary, inside, on a database that lies there.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.holder.id())).args(namespaces().iter().filter(|one| **one != MAPPED));
        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(backend_program()).args(arguments);
        on(&mut command, &format!("sqlite://{}", self.folder.path().join("els.db").display()));
        command
    }

    /// Not a byte is left.
    fn fill(&self) {
        let mut ballast = std::fs::OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for size in [65_536, 4096, 512, 1] {
            loop {
                match ballast.write(&vec![0; size]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    /// As it is seen from outside.
    fn ballast(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.folder.path().strip_prefix("/").unwrap()).join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn namespaces() -> &'static [&'static str] {
    if is_root() { &["--mount"] } else { &["--mount", MAPPED] }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

const MAPPED: &str = "--map-root-user";
const AT_ONCE: usize = 4;
