//! Reads files of CA certificates in the forms that people have: PEM, with or without a byte order mark, OpenSSL's `TRUSTED
//! CERTIFICATE`, and DER. What is none of these is named, so that the message can say how to convert it.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};

use super::tls::Certificates;
use crate::failure::CaFault;

/// The certificates in a file.
pub(crate) fn read(content: &[u8]) -> Result<Certificates, CaFault> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") || is_wide(content) {
        return Err(CaFault::Utf16);
    }
    if content.first() == Some(&SEQUENCE) {
        let certificate = CertificateDer::from(content.to_vec());
        return if is_usable(&certificate) { Ok(vec![certificate]) } else { Err(CaFault::OtherDer) };
    }
    let mut found = Vec::new();
    let text = String::from_utf8_lossy(content);
    // The PEM reader knows no `TRUSTED CERTIFICATE`, which is a certificate followed by OpenSSL's own notes.
    let text = text
        .replace("TRUSTED CERTIFICATE-----", "CERTIFICATE-----")
        .replace("X509 CERTIFICATE-----", "CERTIFICATE-----");
    for (index, item) in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()).enumerate() {
        let unreadable = CaFault::Unreadable { number: index + 1 };
        match item {
            Ok((SectionKind::Certificate, der)) => {
                let certificate = CertificateDer::from(first_element(&der).ok_or(unreadable.clone())?.to_vec());
                if !is_usable(&certificate) {
                    return Err(unreadable);
                }
                found.push(certificate);
            }
            Ok(_) => {}
            Err(_) => return Err(unreadable),
        }
    }
    match found.is_empty() {
        false => Ok(found),
        true if text.contains("-----BEGIN PKCS7-----") => Err(CaFault::Pkcs7),
        true if text.contains("PRIVATE KEY-----") => Err(CaFault::PrivateKey),
        true => Err(CaFault::Empty),
    }
}

fn is_usable(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

/// ASCII in UTF-16 without a byte order mark.
fn is_wide(content: &[u8]) -> bool {
    matches!(content, [b'-', 0, b'-', 0, ..] | [0, b'-', 0, b'-', ..])
}

/// The first element of DER, without what follows it.
fn first_element(der: &[u8]) -> Option<&[u8]> {
    let [SEQUENCE, length, rest @ ..] = der else { return None };
    let (head, length) = match *length {
        short @ 0..0x80 => (2, usize::from(short)),
        long => {
            let bytes = rest.get(..usize::from(long & 0x7f)).filter(|bytes| bytes.len() <= 4)?;
            (2 + bytes.len(), bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)))
        }
    };
    der.get(..head.checked_add(length)?)
}

/// Every certificate begins with this byte.
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() {
        assert_eq!(read(b""), Err(CaFault::Empty));
        assert_eq!(read(b"\xff\xfe-\0-\0"), Err(CaFault::Utf16));
        assert_eq!(read(b"-\0-\0-\0"), Err(CaFault::Utf16));
        assert_eq!(read(b"\x30\x03\x02\x01\x05"), Err(CaFault::OtherDer));
        assert_eq!(read(b"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n"), Err(CaFault::Pkcs7));
        let broken = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!(read(broken), Err(CaFault::Unreadable { number: 1 }));
        let key = b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        assert_eq!(read(key), Err(CaFault::PrivateKey));
    }

    #[test]
    fn what_follows_the_first_element_is_cut_off() {
        assert_eq!(first_element(&[0x30, 1, 7, 9, 9]), Some(&[0x30, 1, 7][..]));
        assert_eq!(first_element(&[0x30, 0x82, 0, 1, 7, 9]), Some(&[0x30, 0x82, 0, 1, 7][..]));
        assert_eq!(first_element(&[0x30, 5, 7]), None);
        assert_eq!(first_element(&[0x30, 0xff]), None);
    }
}
