//! Random keys and key ids. The only place that calls the system's generator for secrets.

use anyhow::Context;
use els_protocol::LicenseKey;

use els_ledger::KeyId;

pub(super) fn new_key() -> anyhow::Result<LicenseKey> {
    random().map(LicenseKey::from_random)
}

pub(super) fn new_key_id() -> anyhow::Result<KeyId> {
    random().map(KeyId::from_random)
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    #[expect(clippy::disallowed_methods, reason = "this is that place")]
    getrandom::fill(&mut bytes).context("cannot get random numbers from the system")?;
    Ok(bytes)
}
