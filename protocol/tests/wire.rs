//! Wire fixtures: documents of version 1 as they are, frozen. What is sent today is what these say, byte for byte, and what
//! was sent yesterday is still read. From the first release on a fixture is never changed, only added.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is to stop there")]

use els_protocol::wire::{RegisterRequest, Registration, RegistrationState, SeatList};
use els_protocol::{Code, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Decodes a document and requires that it is encoded again to the same bytes.
fn same<T: DeserializeOwned + Serialize>(text: &str) -> T {
    let text = text.trim_end();
    let decoded: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(serde_json::to_string(&decoded).unwrap(), text);
    decoded
}

/// Whether a document is still read with one member set to another value.
fn reads<T: DeserializeOwned>(text: &str, pointer: &str, value: Value) -> bool {
    let mut document: Value = serde_json::from_str(text).unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[name] = value;
    serde_json::from_value::<T>(document).is_ok()
}

const REQUEST: &str = include_str!("fixtures/register-request.json");
const REGISTRATION: &str = include_str!("fixtures/registration.json");
const SEATS: &str = include_str!("fixtures/seat-list.json");

/// Promise: wire-members
#[test]
fn documents_of_version_1_are_read_and_written_byte_for_byte() {
    assert!(same::<RegisterRequest>(REQUEST).moved);
    let container: RegisterRequest = same(include_str!("fixtures/register-request-of-a-container.json"));
    assert!(container.hardware.is_none() && !container.moved && container.label.is_none());
    assert_eq!(same::<Registration>(REGISTRATION).contract.as_deref(), Some("C-1042"));
    same::<Registration>(include_str!("fixtures/registration-without-contract.json"));
    let moved: Registration = same(include_str!("fixtures/registration-moved.json"));
    assert!(moved.moved_from.is_some() && moved.state == RegistrationState::Active);
    let superseded: Registration = same(include_str!("fixtures/registration-superseded.json"));
    assert!(superseded.until.is_some() && superseded.state == RegistrationState::Superseded);
    let seats = same::<SeatList>(SEATS).registrations;
    assert_eq!([seats[0].state, seats[1].state], [RegistrationState::Active, RegistrationState::Superseded]);
    assert_eq!(same::<SeatList>(include_str!("fixtures/seat-list-last-page.json")).next, None);
    let problem: Problem = same(include_str!("fixtures/problem-no-free-seat.json"));
    assert_eq!(Code::parse(&problem.code), Some(Code::NoFreeSeat));
}

/// Promise: wire-unknown-members
#[test]
fn members_of_later_versions_are_ignored() {
    let new = || json!({"whatever": [1, null]});
    assert!(reads::<RegisterRequest>(REQUEST, "/new", new()) && reads::<RegisterRequest>(REQUEST, "/os/new", new()));
    assert!(
        reads::<Registration>(REGISTRATION, "/new", new()) && reads::<Registration>(REGISTRATION, "/repo/new", new())
    );
    assert!(reads::<SeatList>(SEATS, "/new", new()) && reads::<SeatList>(SEATS, "/registrations/0/new", new()));
}

/// Promise: wire-members
#[test]
fn a_registration_without_a_state_is_active() {
    let without = |document: &str| document.replace(r#""state":"active","#, "");
    let registration: Registration = serde_json::from_str(&without(REGISTRATION)).unwrap();
    assert_eq!(registration.state, RegistrationState::Active);
    let seats: SeatList = serde_json::from_str(&without(SEATS)).unwrap();
    assert_eq!(seats.registrations[0].state, RegistrationState::Active);
}

/// Promise: wire-forms
#[test]
fn values_that_break_a_rule_are_refused() {
    for (pointer, value) in [
        ("/token_sha256", json!("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD")),
        ("/token_sha256", json!("ba78")),
        ("/machine", json!("697B00AD-E5EE-4DCD-84A9-0114B090BA50")),
        ("/machine", json!("697b00ade5ee4dcd84a90114b090ba50")),
        ("/hardware", json!("")),
        ("/moved", json!("yes")),
        ("/label", json!("")),
        ("/label", json!("a\u{1b}[31m")),
        ("/label", json!("x".repeat(129))),
        ("/os", json!("almalinux 9")),
        ("/key", json!(7)),
    ] {
        assert!(!reads::<RegisterRequest>(REQUEST, pointer, value.clone()), "{pointer} {value}");
    }
    for (pointer, value) in [
        ("/registration", json!("1B4E28BA-2FA1-41D2-883F-0016D3CCA427")),
        ("/state", json!("released")),
        ("/state", json!(null)),
        ("/until", json!("2028-06-30")),
        ("/moved_from", json!("")),
        ("/repo/file", json!("../els")),
        ("/repo/file", json!("ELS")),
        ("/expires", json!("2028-06-30")),
        ("/expires", json!("2028-06-30T23:59:59+02:00")),
        ("/expires", json!(1)),
        ("/seats/used", json!(-1)),
        ("/seats", json!([10, 3, 1])),
    ] {
        assert!(!reads::<Registration>(REGISTRATION, pointer, value.clone()), "{pointer} {value}");
    }
}
