//! Drives the terraform CLI.
//!
//! Pure parts: [`module`] (what a template archive holds and asks for), [`project`] (the root module that is written
//! around it), [`command`] (typed options → argv), [`events`] (terraform's `-json` stream), [`state`] (a state object).
//! At the edge: [`toolchain`] (terraform and providers in a local folder), [`mirror`] (providers where terraform looks
//! for them), [`prepared`] (`init` once for many runs), [`process`] (one terraform process), [`run`] (one attempt).
//!
//! This crate knows nothing of deployments, tables or queues; it never writes a value into HCL, never hands terraform
//! its own process environment, and never returns while a process of terraform's group lives.

pub mod command;
pub mod events;
pub mod mask;
pub mod mirror;
pub mod module;
pub mod prepared;
pub mod process;
pub mod project;
pub mod run;
pub mod state;
pub mod toolchain;
