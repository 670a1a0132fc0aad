//! Positions in a log: `cursor` of a page, and `Last-Event-ID`.

use conductor_engine::LogPosition;

/// A text that claims to be a position.
pub fn position(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(position) = text.parse::<LogPosition>() else { return };
    let written = position.to_string();
    assert_eq!(written.parse(), Ok(position), "{text:?}");
    // The start is an empty text too, and is written as one digit.
    assert!(written.len() <= text.len().max(1), "{text:?} became {written:?}");
    assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{written:?}");
}
