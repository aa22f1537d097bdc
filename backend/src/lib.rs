//! The seat-counting backend of els-register, as a library of its binary and its tests.

pub mod client;
pub mod gate;
pub mod limits;
pub mod products;
