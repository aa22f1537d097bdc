//! `key create`: a new key, shown once.

use std::process::ExitCode;

use els_protocol::{LicenseKey, Timestamp, is_weak};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{Desk, Done, read_file, secrets};
use crate::cli::CreateKey;
use crate::dates::{self, Edge};
use crate::failure::Failure;
use crate::output;
use els_ledger::rules::KeyState;
use els_ledger::{By, Created, KeyId, NewKey};

/// What is to be made, all values checked.
pub(super) struct Order {
    new: NewKey,
    key: LicenseKey,
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    key_id: &'a KeyId,
    /// Only here, only once, and only if it was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    created: bool,
    product: &'a str,
    seats: u64,
    expires: Timestamp,
}

/// Checks the options, and reads or makes the key.
pub(super) fn prepare(options: &CreateKey, zone: &TimeZone, products: &[String]) -> Result<Order, Failure> {
    let date = |text: &str, edge| dates::parse(text, zone, edge).map_err(Failure::Usage);
    let expires = date(&options.expires, Edge::End)?;
    let starts = options.starts.as_deref().map(|text| date(text, Edge::Beginning)).transpose()?;
    if starts.is_some_and(|starts| starts >= expires) {
        return Err(Failure::Usage("the key would expire before it starts; look at --starts and --expires".into()));
    }
    let key = match &options.key_file {
        Some(file) => imported(file, options.allow_weak)?,
        None => secrets::new_key()?,
    };
    let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let new = NewKey {
        id: secrets::new_key_id()?,
        product: product(options.product.as_deref(), products)?,
        seats: options.seats,
        starts,
        expires,
        contract: named(&options.contract),
        reseller: named(&options.reseller),
        note: named(&options.note),
        release_unseen_after: options.release_unseen_after,
        self_release: !options.no_self_release,
        imported: options.key_file.is_some(),
    };
    Ok(Order { new, key, json: options.output.json })
}

/// Makes the key.
pub(super) async fn run(desk: Desk, order: Order) -> Done {
    let imported = order.new.imported;
    let (record, created) = match desk.store.create_key(desk.now, By::vendor(), order.new, order.key.hash()).await? {
        Created::New(record) => (record, true),
        Created::Same(record) => (record, false),
        Created::Differs(record, what) => {
            return Err(Failure::failed(format!(
                "contract {} has key {} already, which differs in {}; `els-backend key update {}` changes it",
                record.contract.unwrap_or_default(),
                record.key_id,
                what.join(", "),
                record.key_id
            )));
        }
        Created::SecretTaken(other) => {
            return Err(Failure::failed(format!("this key is there already, as {other}; nothing was made")));
        }
    };
    let shown = (created && !imported).then(|| order.key.expose());
    if order.json {
        output::json(&Answer {
            key_id: &record.key_id,
            key: shown,
            created,
            product: &record.product,
            seats: record.seats.total,
            expires: record.expires,
        })?;
    } else {
        output::line(format_args!("Key id  {}", record.key_id))?;
        if let Some(key) = shown {
            output::line(format_args!("Key     {key}"))?;
        }
    }
    if !created {
        output::aside("The contract has this key already, with the same values; nothing was made.");
    } else if shown.is_some() {
        output::aside("The key is shown this once: only its hash is kept. `els-backend key rotate` makes another.");
    }
    match record.state {
        KeyState::Active => {}
        KeyState::Suspended => {
            output::aside(format_args!(
                "warning: the key is suspended; `els-backend key resume {}` ends that",
                record.key_id
            ));
        }
        KeyState::Revoked => output::aside("warning: the key is revoked, for good; another needs another --contract"),
    }
    if record.expires <= desk.now {
        output::aside(format_args!("warning: the key has expired already, on {}", record.expires));
    }
    Ok(ExitCode::SUCCESS)
}

/// The product that is named, or the first.
pub(super) fn product(named: Option<&str>, products: &[String]) -> Result<String, Failure> {
    let found = match named {
        Some(named) => products.iter().find(|known| *known == named),
        None => products.first(),
    };
    found.cloned().ok_or_else(|| {
        Failure::Usage(format!(
            "there is no product {}; the products are: {}",
            els_protocol::clean(named.unwrap_or_default(), 64),
            products.join(", ")
        ))
    })
}

fn imported(file: &std::path::Path, allow_weak: bool) -> Result<LicenseKey, Failure> {
    let text = read_file(file)?;
    let shown = file.display();
    let key = LicenseKey::parse(&text).map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
    if is_weak(&key) && !allow_weak {
        return Err(Failure::Usage(format!(
            "{shown}: the key has fewer than 20 characters and could be guessed; --allow-weak imports it all the same"
        )));
    }
    Ok(key)
}
