//! Which products there are, as far as the making of keys depends on it.

use std::path::Path;

use serde::Deserialize;

use super::read_file;
use crate::failure::Failure;

/// The products' ids. The first is what a key is sold for when none is named.
pub(super) fn ids(file: Option<&Path>) -> Result<Vec<String>, Failure> {
    let (name, text) = match file {
        Some(file) => (file.display().to_string(), read_file(file)?),
        None => ("products.toml".into(), include_str!("../../../dist/products.toml").into()),
    };
    let products: File = toml::from_str(&text).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    Ok(products.product.into_iter().map(|product| product.id).collect())
}

#[derive(Deserialize)]
struct File {
    product: Vec<Product>,
}

#[derive(Deserialize)]
struct Product {
    id: String,
}
