//! Drives the terraform CLI, or OpenTofu's: what is said of terraform here is true of both but where [`engine`] differs.
//!
//! Pure parts: [`module`] (what a template archive holds and asks for), [`project`] (the root module that is written
//! around it), [`command`] (typed options → argv), [`events`] (terraform's `-json` stream), [`state`] (a state object),
//! [`lock`] (the state's lock), [`transient`] (which errors pass), [`engine`] (terraform or OpenTofu).
//! At the edge: [`toolchain`] (terraform and providers in a local folder), [`mirror`] (providers where terraform looks
//! for them), [`prepared`] (`init` once for many runs), [`process`] (one terraform process), [`provider`] (one that is
//! kept running between runs), [`seal`] (whether files are still those that were verified), [`pull`] and [`push`] (the
//! state, whatever the backend), [`run`] (one attempt).
//!
//! This crate knows nothing of deployments, tables or queues; it never writes a value into HCL, never hands terraform
//! its own process environment, and never returns while a process of terraform's group lives. A kept provider is in a
//! group of its own: it outlives only a terraform that has ended well.

pub mod command;
pub mod engine;
pub mod events;
pub mod lock;
pub mod mask;
pub mod mirror;
pub mod module;
pub mod prepared;
pub mod process;
pub mod project;
pub mod provider;
pub mod pull;
pub mod push;
pub mod run;
pub mod seal;
pub mod state;
pub mod toolchain;
pub mod transient;
