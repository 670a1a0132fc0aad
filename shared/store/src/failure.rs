//! Calls that failed: what they are to the engine, and the lines that count them. It decides nothing: whether to try
//! again is the caller's.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use conductor_engine::Causes;
use conductor_engine::port::{Clock, StoreError};

use crate::SystemClock;

/// While a service is down every call fails. Each is told of once in this time, with how often it has failed since.
const PAUSE: Duration = Duration::from_secs(1);

static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
static FAILURES: Mutex<BTreeMap<Call, Failures>> = Mutex::new(BTreeMap::new());

/// The service and the operation of it, as the SDK names them.
type Call = (&'static str, &'static str);

/// How often a call has failed.
#[derive(Debug, Default)]
struct Failures {
    told_at: Option<Duration>,
    untold: u64,
}

impl Failures {
    /// Counts one; answers with how many there are to tell of, when it is time to.
    fn count(&mut self, now: Duration) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|at| now < at + PAUSE) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// A call that failed in spite of the SDK's own tries.
pub(crate) fn unavailable<E: Error + Send + Sync + 'static>(error: E) -> StoreError {
    if let Some((service, call)) = call(std::any::type_name::<E>())
        && let Some(count) = count((service, call))
    {
        tracing::warn!(outcome = "storeFailure", service, call, count, error = %Causes(&error), "a call failed");
    }
    StoreError::Unavailable(Box::new(error))
}

fn count(call: Call) -> Option<u64> {
    FAILURES.lock().ok()?.entry(call).or_default().count(CLOCK.monotonic())
}

/// Which call an error of the SDK is of. Its type alone says so; other errors are of none.
fn call(error: &'static str) -> Option<Call> {
    let (_, path) = error.split_once("aws_sdk_")?;
    let (service, path) = path.split_once("::operation::")?;
    let (operation, _) = path.split_once("::")?;
    Some((service, operation))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::error::SdkError;
    use aws_sdk_dynamodb::operation::put_item::PutItemError;
    use aws_sdk_s3::operation::get_object::GetObjectError;
    use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;

    use super::*;

    #[test]
    fn an_error_of_the_sdk_says_which_call_failed() {
        let check = |error: &'static str, expect: Option<Call>| assert_eq!(call(error), expect, "{error}");
        check(std::any::type_name::<SdkError<PutItemError>>(), Some(("dynamodb", "put_item")));
        check(std::any::type_name::<SdkError<GetObjectError>>(), Some(("s3", "get_object")));
        check(std::any::type_name::<SdkError<SendMessageBatchError>>(), Some(("sqs", "send_message_batch")));
        check(std::any::type_name::<serde_json::Error>(), None);
    }

    #[test]
    fn a_call_that_fails_all_the_time_is_told_of_once_a_second() {
        let mut failures = Failures::default();
        let told: Vec<Option<u64>> =
            [5000, 5100, 5999, 6000, 6500, 9000].map(|at| failures.count(Duration::from_millis(at))).to_vec();
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
