//! Who may do what with the engine, and with which token: in memory, where everything that is written can be seen.

#[path = "../common/mod.rs"]
mod common;
mod memory;
mod request;
mod rights;
mod tokens;
