//! Random secrets and ids. The only place that calls the system's generator for secrets.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use els_ledger::{KeyId, TokenId};
use els_protocol::{LicenseKey, Secret};

pub(crate) fn new_key() -> anyhow::Result<LicenseKey> {
    random().map(LicenseKey::from_random)
}

pub(crate) fn new_key_id() -> anyhow::Result<KeyId> {
    random().map(KeyId::from_random)
}

pub(crate) fn new_token_id() -> anyhow::Result<TokenId> {
    random().map(TokenId::from_random)
}

/// A token of the admin API.
pub(crate) fn new_admin_token() -> anyhow::Result<Secret> {
    let bytes: [u8; 32] = random()?;
    Ok(Secret::new(format!("{ADMIN_TOKEN}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// Whether a text begins as tokens of the admin API and passes of a key's owner do: no license key may.
pub(crate) fn looks_like_token(text: &str) -> bool {
    text.starts_with(ADMIN_TOKEN) || text.starts_with("elsp_")
}

pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    #[expect(clippy::disallowed_methods, reason = "this is that place")]
    getrandom::fill(&mut bytes).context("cannot get random numbers from the system")?;
    Ok(bytes)
}

/// How a token of the admin API begins.
pub(crate) const ADMIN_TOKEN: &str = "elsa_";
