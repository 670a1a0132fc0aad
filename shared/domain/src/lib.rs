//! What is true in Conductor: its nouns, their states, and the rules between them.
//!
//! Pure and total: no I/O, no async, no clock, no randomness. Whoever needs a time or an id passes it in.

pub mod access;
pub mod application;
pub mod audit;
pub mod backend;
pub mod candidate;
pub mod code;
pub mod consumer;
pub mod deployment;
pub mod environment;
pub mod identity;
pub mod ids;
pub mod lane;
pub mod log;
pub mod name;
pub mod operation;
pub mod pool;
pub mod principal;
pub mod resource;
pub mod score;
pub mod template;
pub mod token;

pub use code::{Code, Refusal};
