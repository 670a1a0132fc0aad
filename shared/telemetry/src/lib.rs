//! Logs with the metrics in them, and configuration from the environment: what every function does before all else.
//!
//! The only crate that reads an environment variable. It decides nothing, and calls nobody.

mod line;
mod metric;

use jiff::Timestamp;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A variable that is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not set, or empty.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// Its text means nothing.
    #[error("the environment variable {name} must be {rule}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// A variable that must be set.
#[expect(clippy::disallowed_methods, reason = "this is the edge where the environment is read")]
pub fn required(name: &'static str) -> Result<String, ConfigError> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or(ConfigError::Missing(name))
}

/// A variable that may be set; `none` says the same as nothing, because Lambda takes no empty values.
pub fn optional(name: &'static str) -> Option<String> {
    required(name).ok().filter(|value| value != "none")
}

/// A variable that may be set, with a whole number of seconds, at most a day.
pub fn seconds(name: &'static str) -> Result<Option<i64>, ConfigError> {
    let rule = "a whole number of seconds, 0 to 86400";
    let read = |text: String| {
        let number = text.parse::<i64>().ok().filter(|seconds| (0..=86_400).contains(seconds));
        number.ok_or(ConfigError::Invalid { name, rule })
    };
    optional(name).map(read).transpose()
}

/// Starts the logs: JSON lines on standard output, at the level that `LOG_LEVEL` says, counted for the stack that
/// `STACK_NAME` says. Those that tell of an outcome come at every level.
pub fn start_logs() {
    let level = optional("LOG_LEVEL").unwrap_or_else(|| "info".to_owned());
    let stack = optional("STACK_NAME").unwrap_or_else(|| "conductor".to_owned());
    let layer = line::layer(&level, stack, std::io::stdout, now);
    // A second start, as in tests, changes nothing.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where the clock is read")]
fn now() -> Timestamp {
    Timestamp::now()
}
