//! els-backend
fn main() {}
