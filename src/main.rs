//! els-register
fn main() {}
