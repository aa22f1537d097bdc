//! Which products there are: those of `--products FILE`, else those compiled in.

use std::path::Path;

use crate::failure::Failure;
use crate::products::Products;

/// All products.
pub(super) fn read(file: Option<&Path>) -> Result<Products, Failure> {
    let products = match file {
        Some(file) => Products::load(file),
        None => Products::embedded(),
    };
    products.map_err(|error| Failure::Usage(error.to_string()))
}

/// The products' ids. The first is what a key is sold for when none is named.
pub(super) fn ids(file: Option<&Path>) -> Result<Vec<String>, Failure> {
    Ok(read(file)?.iter().map(|product| product.id.clone()).collect())
}
