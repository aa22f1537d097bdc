//! Finds the vendor's product file, which is compiled into the binary.
//!
//! `ELS_VENDOR_DIR` (set by `make … VENDOR=DIR`) replaces `dist/` as a whole; a relative one counts from the workspace.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=ELS_VENDOR_DIR");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let vendor = env::var_os("ELS_VENDOR_DIR").map_or_else(|| PathBuf::from("dist"), PathBuf::from);
    let file = workspace.join(vendor).join("products.toml");
    println!("cargo::rerun-if-changed={}", file.display());
    match fs::canonicalize(&file) {
        Ok(file) => println!("cargo::rustc-env=ELS_PRODUCTS_FILE={}", file.display()),
        Err(error) => println!(
            "cargo::error={}: {error}; ELS_VENDOR_DIR has to name a folder that holds products.toml",
            file.display()
        ),
    }
}
