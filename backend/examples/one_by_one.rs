//! What `make bench` compares registrations with: the same transactions on SQLite, in this process, each with a commit of its
//! own. Arguments: a folder, seconds. Prints how many a second.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a measuring tool")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use els_ledger::rules::RegisterCommand;
use els_ledger::{Actor, Administration, By, KeyId, NewKey, Opening, Origin, Policy, SeatStore, SqliteStore};
use els_protocol::wire::Os;
use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let time = Duration::from_secs(arguments.next().unwrap().parse().unwrap());
    let policy = Policy { covers: Arc::new(|_, _, _| true), grace_seconds: 0 };
    let store = SqliteStore::open(&folder.join("one-by-one.db"), Opening::Creating, policy).unwrap();
    let now = Timestamp::from_unix(1_800_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(async {
        let key = NewKey {
            id: KeyId::parse("bench").unwrap(),
            product: "almalinux-9-els".into(),
            seats: 1_000_000_000,
            starts: None,
            expires: Timestamp::MAX,
            contract: None,
            reseller: None,
            note: None,
            release_unseen_after: None,
            self_release: true,
            imported: false,
        };
        store.create_key(now, By::vendor(), key, Sha256Hex([7; 32])).await.unwrap();
        let began = Instant::now();
        let mut done = 0_u64;
        while began.elapsed() < time {
            let random = || {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes).unwrap();
                bytes
            };
            let command = RegisterCommand {
                id: RegistrationId::from_random(random()),
                key_hash: Sha256Hex([7; 32]),
                token_hash: Sha256Hex::of(&random()),
                machine: MachineId::from_random(random()),
                hardware: Some(MachineId::from_random(random())),
                moved: false,
                os: Os { id: "almalinux".into(), version: "9.6".into() },
                arch: "x86_64".into(),
                label: None,
            };
            store.register(now, By::new(Actor::Machine, Origin::Api), command).await.unwrap().unwrap();
            done += 1;
        }
        done as f64 / began.elapsed().as_secs_f64()
    });
    println!("{done:.0}");
}
