//! How far this machine's clock is from DynamoDB's: leases and reservations compare times of several machines.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::types::AttributeValue;
use conductor_engine::port::{Clock, StoreError};
use jiff::{SignedDuration, Timestamp};

use crate::SystemClock;
use crate::failure::unavailable;

/// Keeps the `Date` header of the last answer.
#[derive(Debug, Clone, Default)]
struct DateOf(Arc<Mutex<Option<String>>>);

impl Intercept for DateOf {
    fn name(&self) -> &'static str {
        "DateOf"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        if let Ok(mut kept) = self.0.lock() {
            *kept = date;
        }
        Ok(())
    }
}

/// The difference between this machine's clock and the table's, to the second that a `Date` header has: positive where
/// ours is ahead. An answer without a date says nothing, and so is no difference.
pub(crate) async fn skew(dynamodb: &Client, table: &str) -> Result<SignedDuration, StoreError> {
    let date = DateOf::default();
    // Reads what is never there: any answer has a date.
    let key = |name: &str| (name.to_owned(), AttributeValue::S("clock".to_owned()));
    let request = dynamodb.get_item().table_name(table).set_key(Some([key("pk"), key("sk")].into()));
    let request = request.customize().interceptor(date.clone());
    request.send().await.map_err(unavailable)?;
    let now = SystemClock::new().now();
    let kept = date.0.lock().ok().and_then(|kept| kept.clone());
    Ok(kept.and_then(|text| parse(&text)).map_or(SignedDuration::ZERO, |theirs| now.duration_since(theirs)))
}

fn parse(date: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(date).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_date_header_is_read() {
        let expect = "2026-11-22T01:28:47Z".parse().ok();
        assert_eq!(super::parse("Sun, 22 Nov 2026 01:28:47 GMT"), expect);
        assert_eq!(super::parse("yesterday"), None);
    }
}
