//! Identifiers: of a registration, of a machine.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::{Builder, Uuid};

use crate::hash::hmac_sha256;

macro_rules! uuid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        #[cfg_attr(
            feature = "schema",
            derive(utoipa::ToSchema),
            schema(value_type = String, pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        )]
        pub struct $name(Uuid);

        impl $name {
            /// Reads a lower-case UUID with its four dashes; `None` for any other form.
            pub fn parse(text: &str) -> Option<Self> {
                let uuid = Uuid::try_parse(text).ok()?;
                (uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text).then_some($name(uuid))
            }

            /// Wraps a UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                $name(uuid)
            }

            /// The id with these 16 bytes, in the order of the text; they are taken as they are.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                $name(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes, in the order of the text.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $name::parse(&text).ok_or_else(|| serde::de::Error::custom("not a lower-case UUID"))
            }
        }
    };
}

uuid_type! {
    /// The id of one registration: a UUID that the agent makes. It is the user name at the gate, and no secret.
    RegistrationId
}

uuid_type! {
    /// The id of a machine or of its hardware, as it is sent: application-specific, so that the ids the machine has
    /// for itself never leave it.
    MachineId
}

impl RegistrationId {
    /// A version 4 UUID (RFC 9562) over 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        RegistrationId(Builder::from_random_bytes(bytes).into_uuid())
    }
}

impl MachineId {
    /// A version 4 UUID over 16 random bytes, for a machine that has no id of its own.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        MachineId(Builder::from_random_bytes(bytes).into_uuid())
    }
}

/// The application id under which machine and hardware ids are derived. Never to be changed: every machine that is
/// registered would look like another one.
const APPLICATION_ID: [u8; 16] = 0xe15a9c3e64b24d6e8f0c5d2f7a1b3c90_u128.to_be_bytes();

/// The id that stands for `id` (16 bytes) on the wire: `sd_id128_get_app_specific(3)`, that is HMAC-SHA256 of the
/// application id under `id`, its first 16 bytes, with the version and variant bits of a UUID version 4.
pub fn application_specific_id(id: &[u8; 16]) -> MachineId {
    let mac = hmac_sha256(id, &APPLICATION_ID);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&mac[..16]);
    MachineId(Builder::from_random_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: wire-forms
    #[test]
    fn only_lower_case_dashed_uuids_are_ids() {
        let text = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
        let id = RegistrationId::parse(text).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(RegistrationId::from_bytes(*id.as_bytes()), id);
        for bad in ["1B4E28BA-2FA1-41D2-883F-0016D3CCA427", "1b4e28ba2fa141d2883f0016d3cca427", "", "{1b4e28ba}"] {
            assert_eq!(RegistrationId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_machine_id_is_what_systemd_id128_prints() {
        // systemd-id128 machine-id -u -a e15a9c3e64b24d6e8f0c5d2f7a1b3c90, on a machine whose /etc/machine-id holds
        // the first value. A test of the agent compares with the program itself.
        let id = 0x00112233445566778899aabbccddeeff_u128.to_be_bytes();
        assert_eq!(application_specific_id(&id).to_string(), "697b00ad-e5ee-4dcd-84a9-0114b090ba50");
    }
}
