//! The products: those of `--products FILE`, else those compiled in.

use std::path::Path;

use super::error::CommandError;
use crate::products::Products;

pub(super) fn read(file: Option<&Path>) -> Result<Products, CommandError> {
    let products = match file {
        Some(file) => Products::load(file),
        None => Products::embedded(),
    };
    products.map_err(|error| CommandError::Usage(error.to_string()))
}

/// The products' ids, in the order of the file.
pub(super) fn ids(file: Option<&Path>) -> Result<Vec<String>, CommandError> {
    Ok(read(file)?.iter().map(|product| product.id.clone()).collect())
}
