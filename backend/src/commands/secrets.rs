//! Randomness for what must not be guessed. Owns the one call to the system's generator.

use anyhow::Context;
use els_protocol::LicenseKey;

use els_ledger::KeyId;

/// A new key of our making.
pub(super) fn new_key() -> anyhow::Result<LicenseKey> {
    random().map(LicenseKey::from_random)
}

/// A new key id.
pub(super) fn new_key_id() -> anyhow::Result<KeyId> {
    random().map(KeyId::from_random)
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    #[expect(clippy::disallowed_methods, reason = "this is that place")]
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    Ok(bytes)
}
