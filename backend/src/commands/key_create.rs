//! `key create`: a new key, printed once.

use std::process::ExitCode;

use els_protocol::{LicenseKey, Timestamp, is_weak};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::context::{Context, Outcome, read_file};
use super::error::CommandError;
use crate::cli::CreateKey;
use crate::dates::{self, Edge};
use crate::{output, secrets};
use els_ledger::rules::KeyState;
use els_ledger::{By, Created, KeyId, NewKey};

/// The key to make, all values checked.
pub(super) struct Order {
    new: NewKey,
    key: LicenseKey,
    json: bool,
}

#[derive(Serialize)]
struct CreatedKey<'a> {
    key_id: &'a KeyId,
    /// Only when a key was made by this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    created: bool,
    product: &'a str,
    seats: u64,
    expires: Timestamp,
}

/// Checks the options, and reads or makes the key.
pub(super) fn prepare(options: &CreateKey, zone: &TimeZone, products: &[String]) -> Result<Order, CommandError> {
    let date = |text: &str, edge| dates::parse(text, zone, edge).map_err(CommandError::Usage);
    let expires = date(&options.expires, Edge::End)?;
    let starts = options.starts.as_deref().map(|text| date(text, Edge::Beginning)).transpose()?;
    if starts.is_some_and(|starts| starts >= expires) {
        return Err(CommandError::Usage("the key would expire before it starts; check --starts and --expires".into()));
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

pub(super) async fn run(context: Context, order: Order) -> Outcome {
    let imported = order.new.imported;
    let created = context.store.create_key(context.now, By::vendor(), order.new, order.key.hash()).await?;
    let (record, created) = match created {
        Created::New(record) => (record, true),
        Created::Same(record) => (record, false),
        Created::Differs(record, what) => {
            return Err(CommandError::failed(format!(
                "contract {} has key {} already, with another value of: {}; `els-backend key update {}` changes it",
                record.contract.unwrap_or_default(),
                record.key_id,
                what.join(", "),
                record.key_id
            )));
        }
        Created::SecretTaken(other) => {
            return Err(CommandError::failed(format!("this key exists already, as {other}; nothing was made")));
        }
    };
    let shown = (created && !imported).then(|| order.key.expose());
    if order.json {
        output::json(&CreatedKey {
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
        output::note("The contract has this key already, with the same values; nothing was made.");
    } else if shown.is_some() {
        output::note(
            "The key is shown only this once: the database has its hash. `els-backend key rotate` makes a new one.",
        );
    }
    match record.state {
        KeyState::Active => {}
        KeyState::Suspended => {
            output::note(format_args!(
                "warning: the key is suspended; `els-backend key resume {}` ends the suspension",
                record.key_id
            ));
        }
        KeyState::Revoked => output::note("warning: the key is revoked for ever; a new key needs another --contract"),
    }
    if record.expires <= context.now {
        output::note(format_args!("warning: the key expired already, on {}", record.expires));
    }
    Ok(ExitCode::SUCCESS)
}

/// The product with this id; without one the first product.
pub(super) fn product(named: Option<&str>, products: &[String]) -> Result<String, CommandError> {
    let found = match named {
        Some(named) => products.iter().find(|known| *known == named),
        None => products.first(),
    };
    found.cloned().ok_or_else(|| {
        CommandError::Usage(format!(
            "there is no product {}; the products are: {}",
            els_protocol::clean(named.unwrap_or_default(), 64),
            products.join(", ")
        ))
    })
}

fn imported(file: &std::path::Path, allow_weak: bool) -> Result<LicenseKey, CommandError> {
    let text = read_file(file)?;
    let shown = file.display();
    let key = LicenseKey::parse(&text).map_err(|error| CommandError::Usage(format!("{shown}: {error}")))?;
    if secrets::looks_like_token(key.expose()) {
        return Err(CommandError::Usage(format!(
            "{shown}: a key cannot begin with elsa_ or elsp_, as tokens and passes do"
        )));
    }
    if is_weak(&key) && !allow_weak {
        return Err(CommandError::Usage(format!(
            "{shown}: the key has fewer than 20 characters and could be guessed; --allow-weak imports it"
        )));
    }
    Ok(key)
}
