//! What happens when things break, in one program: it is linked once.

mod budget;
mod cancel;
mod concurrency;
mod dead_worker;
mod errored_state;
mod fence;
mod left_behind;
mod proxy;
mod queue;
mod restart;
mod worker;
