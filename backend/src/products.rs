//! The products that keys are sold for, read from one TOML file.
//!
//! Owns the format of `products.toml`, and the rule which systems and which paths a product covers. It must not know keys,
//! registrations or requests. A value of [`Products`] is valid: `parse` is the only way to one.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use els_protocol::RepoFile;
use els_protocol::wire::Os;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use els_server::path::{Prefix, RequestPath};

/// All products of this vendor, and the public paths.
#[derive(Debug, Clone)]
pub struct Products {
    public: Vec<Prefix>,
    products: Vec<Arc<Product>>,
}

/// One product: what a key is sold for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The id, also in the database and in the protocol.
    #[serde(deserialize_with = "identifier")]
    pub id: String,
    /// The name that people see.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// The `ID` of os-release(5) that it covers.
    #[serde(deserialize_with = "identifier")]
    pub os: String,
    /// The versions that it covers; `9` covers `9.x`.
    #[serde(deserialize_with = "words")]
    pub versions: Vec<String>,
    /// The architectures that it covers, as `uname -m` prints them.
    #[serde(deserialize_with = "words")]
    pub architectures: Vec<String>,
    /// The repo file that its machines get.
    pub repo_file: RepoFile,
    /// The paths that its credentials open, below `--repo-url`.
    #[serde(deserialize_with = "prefixes")]
    pub prefixes: Vec<Prefix>,
}

/// Why a product file cannot be used: `path: line: key: error`, as far as known.
#[derive(Debug)]
pub struct ProductsError {
    path: PathBuf,
    what: String,
}

impl Products {
    /// The products compiled into this binary.
    pub fn embedded() -> Result<Self, ProductsError> {
        Self::parse(Path::new("products.toml (compiled in)"), include_str!(env!("ELS_PRODUCTS_FILE")))
    }

    /// The products in `path` (`--products FILE`).
    pub fn load(path: &Path) -> Result<Self, ProductsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ProductsError { path: path.to_owned(), what: error.to_string() })?;
        Self::parse(path, &text)
    }

    /// Reads the text of a product file; `path` is for the errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ProductsError> {
        let error = |what: String| ProductsError { path: path.to_owned(), what };
        let file: File = toml::from_str(text).map_err(|refused| error(located(text, &refused)))?;
        if file.product.is_empty() {
            return Err(error("product: at least one [[product]] is required".into()));
        }
        let mut ids = HashSet::new();
        if let Some(twice) = file.product.iter().find(|product| !ids.insert(product.id.as_str())) {
            return Err(error(format!("product.id: {}: appears twice", twice.id)));
        }
        Ok(Products { public: file.public, products: file.product.into_iter().map(Arc::new).collect() })
    }

    pub fn get(&self, id: &str) -> Option<&Arc<Product>> {
        self.products.iter().find(|product| product.id == id)
    }

    /// In the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Product> {
        self.products.iter().map(AsRef::as_ref)
    }

    /// Whether the product with this id covers a system; `false` for an id that is not in the file.
    pub fn covers(&self, product: &str, os: &Os, arch: &str) -> bool {
        self.get(product).is_some_and(|product| product.covers(os, arch))
    }

    /// Whether a path below `--repo-url` needs no credential.
    pub fn is_public(&self, path: RequestPath<'_>) -> bool {
        self.public.iter().any(|prefix| path.is_under(prefix))
    }
}

impl Product {
    /// Whether this product covers a system.
    pub fn covers(&self, os: &Os, arch: &str) -> bool {
        let version = |covered: &String| {
            os.version.strip_prefix(covered.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.os == os.id && self.versions.iter().any(version) && self.architectures.iter().any(|known| known == arch)
    }

    /// Whether a credential of this product opens a path below `--repo-url`.
    pub fn opens(&self, path: RequestPath<'_>) -> bool {
        self.prefixes.iter().any(|prefix| path.is_under(prefix))
    }
}

impl fmt::Display for ProductsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for ProductsError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "prefixes")]
    public: Vec<Prefix>,
    #[serde(default)]
    product: Vec<Product>,
}

/// An id: people type it on command lines, and other systems put it in URLs.
fn identifier<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
    {
        Ok(text)
    } else {
        Err(D::Error::custom(format!("{text:?}: must be 1 to 64 lower-case letters, digits and ._-")))
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(D::Error::custom(format!("{text:?}: must be a line of text")));
    }
    Ok(text)
}

fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match words.iter().find(|word| word.is_empty() || !word.chars().all(plain)) {
        Some(bad) => Err(D::Error::custom(format!("{bad:?}: must be letters, digits and ._-"))),
        None if words.is_empty() => Err(D::Error::custom("[]: must name at least one")),
        None => Ok(words),
    }
}

fn prefixes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Prefix>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .into_iter()
        .map(|text| match Prefix::parse(&text) {
            // The root would open the packages of all products.
            Ok(prefix) if prefix.is_root() => Err(D::Error::custom(format!("{text:?}: must name at least one folder"))),
            Ok(prefix) => Ok(prefix),
            Err(what) => Err(D::Error::custom(format!("{text:?}: {what}"))),
        })
        .collect()
}

/// The error of the TOML parser in one line: line, key, error.
fn located(text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else {
        return error.message().to_owned();
    };
    let before = text.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let whole = text.lines().nth(line - 1).unwrap_or_default();
    match whole.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.is_empty() && !key.starts_with('[')) {
        Some(key) => format!("line {line}: {key}: {}", error.message()),
        None => format!("line {line}: {}", error.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
public = ["/els-register", "/gpg"]
[[product]]
id = "almalinux-9-els"
name = "Extended Lifecycle Support for AlmaLinux 9"
os = "almalinux"
versions = ["9"]
architectures = ["x86_64", "aarch64"]
repo_file = "els-almalinux-9"
prefixes = ["/almalinux/9"]
"#;

    fn parse(text: &str) -> Result<Products, String> {
        Products::parse(Path::new("p.toml"), text).map_err(|error| error.to_string())
    }

    fn path(target: &str) -> RequestPath<'_> {
        RequestPath::parse(target.as_bytes()).unwrap()
    }

    /// Promise: products-file
    #[test]
    fn the_products_compiled_in_are_valid() {
        assert!(Products::embedded().unwrap().iter().all(|product| !product.prefixes.is_empty()));
    }

    /// Promise: products-file
    #[test]
    fn a_version_covers_its_minor_releases_and_no_others() {
        let products = parse(GOOD).unwrap();
        for (id, version, arch, covered) in [
            ("almalinux", "9", "x86_64", true),
            ("almalinux", "9.6", "aarch64", true),
            ("almalinux", "90", "x86_64", false),
            ("almalinux", "8.10", "x86_64", false),
            ("almalinux", "", "x86_64", false),
            ("rocky", "9.6", "x86_64", false),
            ("almalinux", "9.6", "s390x", false),
        ] {
            let os = Os { id: id.into(), version: version.into() };
            assert_eq!(products.covers("almalinux-9-els", &os, arch), covered, "{id} {version} {arch}");
            assert!(!products.covers("another", &os, arch));
        }
    }

    /// Promise: gate-product-paths
    #[test]
    fn a_path_is_open_for_a_product_or_public() {
        let products = parse(GOOD).unwrap();
        let product = products.get("almalinux-9-els").unwrap();
        assert!(product.opens(path("/almalinux/9/updates/x86_64/repodata/repomd.xml")));
        assert!(!product.opens(path("/almalinux/8/updates")));
        assert!(!product.opens(path("/gpg/RPM-GPG-KEY-ELS")));
        assert!(products.is_public(path("/gpg/RPM-GPG-KEY-ELS")));
        assert!(!products.is_public(path("/gpg2")));
        assert!(!products.is_public(path("/almalinux/9")));
    }

    /// Promise: products-file
    #[test]
    fn errors_name_file_line_key_and_value() {
        for (from, to, expected) in [
            ("os = \"almalinux\"", "os = \"\"", "p.toml: line 6: os: \"\": must be"),
            ("os = ", "ox = ", "p.toml: line 6: ox: unknown field `ox`"),
            ("\"/almalinux/9\"", "\"almalinux/9\"", "p.toml: line 10: prefixes: \"almalinux/9\": does not begin"),
            ("\"/almalinux/9\"", "\"/\"", "must name at least one folder"),
            ("\"/gpg\"", "\"/gpg/\"", "p.toml: line 2: public: \"/gpg/\": has an empty segment"),
            ("els-almalinux-9", "../x", "line 9: repo_file: not the name of a repo file"),
            ("versions = [\"9\"]", "versions = []", "line 7: versions: []: must name at least one"),
            ("versions = [\"9\"]", "versions = 9", "line 7: versions: invalid type: integer"),
        ] {
            let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(error.starts_with("p.toml: ") && !error.contains('\n'), "{error}");
        }
        assert!(parse("").unwrap_err().contains("at least one [[product]]"));
        assert!(
            parse(&format!("{GOOD}{}", GOOD.lines().skip(2).collect::<Vec<_>>().join("\n")))
                .unwrap_err()
                .contains("twice")
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Products::load(Path::new("/nonexistent/p.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/p.toml: "), "{error}");
    }
}
