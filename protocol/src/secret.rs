//! A string that must never be shown.

use std::fmt;

/// A secret: no `Display`, and a `Debug` that prints `REDACTED`. Every use goes through [`Secret::expose`], so that
/// `grep -rn 'expose()'` lists all places where a secret leaves its wrapper.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that is to be kept from logs and terminals.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself, in clear.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}

impl PartialEq for Secret {
    /// Compares in a time that does not depend on where the two differ.
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: no-secret-shown
    #[test]
    fn debug_output_hides_the_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "REDACTED");
    }
}
