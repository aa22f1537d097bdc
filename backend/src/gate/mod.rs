//! The gate: who may fetch what from the repositories.

pub mod judge;
