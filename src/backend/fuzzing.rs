//! Fuzz targets: what comes over the network for one call.

use els_host::fuzzing;
use els_protocol::{BaseUrl, RegistrationId};

use super::decode_registration;
use super::probe::is_repomd;

const ID: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

/// An accepted answer holds the registration that was asked for, in texts without control characters.
pub(crate) fn answer(data: &[u8]) {
    let server = BaseUrl::parse("https://els.example.com").expect("a URL");
    let id = RegistrationId::parse(ID).expect("an id");
    let Some(answer) = fuzzing::answer(&server, data) else { return };
    let status = answer.status;
    match decode_registration(&answer, &server, &[200, 201], &id) {
        Ok(registration) => {
            assert!(matches!(status, 200 | 201) && registration.registration == id);
            let product = &registration.product;
            for text in [&registration.key_id, &product.id, &product.name].into_iter().chain(&registration.contract) {
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
        }
        Err(error) => fuzzing::refused(&error, status, true),
    }
}

/// A document that is taken for a repository's begins as one.
pub(crate) fn repomd(data: &[u8]) {
    if is_repomd(data) {
        let text = std::str::from_utf8(data).expect("XML in UTF-8");
        let (before, _) = text.split_once("<repomd").expect("its root element");
        // Comments and declarations may hold anything; outside of them there is nothing.
        let mut rest = before.trim_start_matches('\u{feff}').trim();
        while let Some(end) = [("<!--", "-->"), ("<?", "?>")].iter().find_map(|(begin, end)| {
            let inside = rest.strip_prefix(begin)?;
            Some(inside.split_once(end).map_or("", |(_, after)| after))
        }) {
            rest = end.trim();
        }
        assert_eq!(rest, "", "before the root element");
    }
}
