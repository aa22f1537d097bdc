//! Tokens of the vendor's systems, and what they reach.

use super::*;
use els_ledger::{KeyChange, NewToken, Permission, TokenId};

fn new(number: u8) -> NewToken {
    NewToken {
        id: TokenId::from_random([number; 8]),
        hash: secret(&format!("token {number}")),
        name: format!("token {number}"),
        scopes: vec![Permission::KeysRead, Permission::SeatsRelease],
        reseller: None,
        products: Vec::new(),
        networks: Vec::new(),
        made_at: at(0),
        expires: at(30 * DAY),
    }
}

/// Promise: admin-token
pub(super) async fn a_token_is_stored_as_created_and_its_last_use_never_becomes_earlier(store: Arc<dyn Store>) {
    let made = NewToken { products: vec!["els".into(), "e_s".into()], networks: vec!["::1/128".into()], ..new(1) };
    store.create_token(made.clone()).await.unwrap();
    assert!(store.create_token(made.clone()).await.is_err(), "an id is made once");
    for uses in [vec![(made.id, at(50)), (new(9).id, at(1))], vec![(made.id, at(40))]] {
        store.tokens_used(uses).await.unwrap();
    }
    let found = store.token(made.hash).await.unwrap().unwrap();
    assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&found));
    assert_eq!((&found.products, &found.networks, &found.scopes), (&made.products, &made.networks, &made.scopes));
    assert_eq!(found.used_at, Some(at(50)));
    assert!(found.is_valid(at(0), &made.hash) && !found.is_valid(made.expires, &made.hash));
    assert!(!found.is_valid(at(0), &secret("another")));
    assert_eq!(store.revoke_token(at(60), new(9).id).await.unwrap(), None);
    for now in [60, 70] {
        let revoked = store.revoke_token(at(now), made.id).await.unwrap().unwrap();
        assert_eq!(revoked.revoked_at, Some(at(60)));
        assert!(!revoked.is_valid(at(0), &made.hash));
    }
    assert_eq!(store.token(secret("another")).await.unwrap(), None);
}

/// Promise: admin-isolation
pub(super) async fn a_token_reaches_the_keys_of_its_reseller_and_products(store: Arc<dyn Store>) {
    for (name, product, reseller) in
        [("a", "els", Some("North")), ("b", "els", Some("South")), ("c", "e_s", Some("North")), ("d", "els", None)]
    {
        make(&store, NewKey { product: product.into(), reseller: reseller.map(Into::into), ..new_key(name, 5) }).await;
    }
    put(&store, 0, asks(1, 1, 1)).await.unwrap();
    put(&store, 0, RegisterCommand { key_hash: secret("b"), ..asks(2, 2, 2) }).await.unwrap();
    let north = NewToken { reseller: Some("North".into()), ..new(1) };
    let els = NewToken { products: vec!["els".into()], ..new(2) };
    let both = NewToken { reseller: Some("North".into()), products: vec!["els".into()], ..new(3) };
    let mut scopes = Vec::new();
    for token in [north, els, both, new(4)] {
        store.create_token(token.clone()).await.unwrap();
        scopes.push(store.token(token.hash).await.unwrap().unwrap().scope());
    }
    for (scope, reached) in scopes.iter().zip(["ac", "abd", "a", "abcd"]) {
        let keys = store.keys(at(1), *scope, None, 100).await.unwrap();
        assert_eq!(keys.iter().map(|key| key.key_id.as_str()).collect::<String>(), reached);
        for name in ["a", "b", "c", "d"] {
            let id = KeyId::parse(name).unwrap();
            let within = reached.contains(name);
            assert_eq!(store.key(at(1), *scope, &id).await.unwrap().is_some(), within, "{name}");
            assert_eq!(store.holders(at(1), *scope, &id, None, 9).await.unwrap().is_some(), within, "{name}");
            let changed = store.update_key(at(1), *scope, by(), &id, KeyChange::default()).await.unwrap();
            assert_eq!(changed != KeyUpdate::NoSuchKey, within, "{name}");
        }
        let events = store.events(at(1), *scope, EventFilter::default(), Cursor(0), 100).await.unwrap();
        assert!(events.iter().all(|event| reached.contains(event.key_id.as_str())));
    }
    let (north, els) = (scopes[0], scopes[1]);
    let foreign = store.release_seat(at(2), north, by(), registration(2)).await.unwrap();
    assert_eq!(foreign, store.release_seat(at(2), north, by(), registration(77)).await.unwrap());
    assert_eq!(foreign, Err(Denied::UnknownRegistration));
    assert_eq!(
        store.release_seat(at(2), north, by(), registration(1)).await.unwrap(),
        Ok(els_ledger::ReleaseOutcome::Released)
    );
    assert_eq!(seats(&store, "a").await.used, 0);
    // A token that has expired or is revoked reaches nothing, whatever the caller has checked before.
    assert_eq!(store.keys(at(30 * DAY), north, None, 100).await.unwrap(), []);
    store.revoke_token(at(3), new(2).id).await.unwrap();
    assert_eq!(store.keys(at(3), els, None, 100).await.unwrap(), []);
}
