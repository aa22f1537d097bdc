//! The tests of els-backend that drive the built binary.
