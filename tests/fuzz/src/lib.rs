//! What takes bytes that nobody has checked, as functions over bytes that panic where a promise is broken. Whatever the
//! bytes are: it ends, it does not panic, what is refused says why, what is taken can be written down and read again, and
//! nothing comes out that is much larger than what went in.
//!
//! `make fuzz` runs each target under libFuzzer (`fuzz/`), which also watches time and memory; `tests/corpus.rs` runs them
//! over the inputs of `corpus/<target>` with every other test. Nothing here does I/O.

mod archive;
mod backend;
mod configuration;
mod events;
mod mask;
mod names;
mod placeholders;
mod position;
mod scanner;
mod score;
mod state;

pub use archive::archive;
pub use backend::backend;
pub use configuration::configuration;
pub use events::events;
pub use mask::mask;
pub use names::names;
pub use placeholders::placeholders;
pub use position::position;
pub use score::score;
pub use state::state;

/// What a fuzzer calls with its input; a panic is a find.
pub type Target = fn(&[u8]);

/// All targets, by the name of their corpus and of their program.
pub const TARGETS: [(&str, Target); 10] = [
    ("archive", archive),
    ("backend", backend),
    ("configuration", configuration),
    ("events", events),
    ("mask", mask),
    ("names", names),
    ("placeholders", placeholders),
    ("position", position),
    ("score", score),
    ("state", state),
];
