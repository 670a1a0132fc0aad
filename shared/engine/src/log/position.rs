//! How far a reader of a log is: for each operation how many steps and lines it has, as a text that fits into a header.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use conductor_domain::log::MAX_STEPS;
use conductor_domain::operation::MAX_OPERATIONS;

use super::write::MAX_LINES;

/// How far a reader is in the log of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Steps that it has.
    pub steps: u32,
    /// Lines that it has of the run that follows the last of these.
    pub lines: u32,
}

/// How far a reader is; by default at the start. Its text is URL-safe and under 4 KB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LogPosition {
    /// Operations of which it has everything there will ever be; 0 is the deployment itself.
    pub(super) whole: BTreeSet<u32>,
    /// The others of which it has something.
    pub(super) places: BTreeMap<u32, Place>,
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a position that a log gave")]
pub struct LogPositionError;

/// What the numbers of a text are written with, the least significant digit first: a digit below [`HALF`] is a number's
/// last.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HALF: u32 = 32;

fn write(text: &mut String, mut number: u32) {
    loop {
        let (rest, digit) = (number / HALF, number % HALF);
        let digit = if rest == 0 { digit } else { digit + HALF };
        text.push(char::from(DIGITS[digit as usize]));
        if rest == 0 {
            return;
        }
        number = rest;
    }
}

/// The numbers of a text.
struct Numbers<'t>(std::slice::Iter<'t, u8>);

impl Numbers<'_> {
    fn next(&mut self) -> Result<u32, LogPositionError> {
        let (mut number, mut unit) = (0_u32, 1_u32);
        loop {
            let byte = self.0.next().ok_or(LogPositionError)?;
            let digit = DIGITS.iter().position(|digit| digit == byte).ok_or(LogPositionError)? as u32;
            let part = (digit % HALF).checked_mul(unit).ok_or(LogPositionError)?;
            number = number.checked_add(part).ok_or(LogPositionError)?;
            if digit < HALF {
                return Ok(number);
            }
            unit = unit.checked_mul(HALF).ok_or(LogPositionError)?;
        }
    }
}

/// Runs of numbers without a gap: the first of each, and how many more there are.
fn runs(numbers: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((first, more)) if *first + *more + 1 == *number => *more += 1,
            _ => runs.push((*number, 0)),
        }
    }
    runs
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let runs = runs(&self.whole);
        write(&mut text, runs.len() as u32);
        let mut before = 0;
        for (first, more) in runs {
            write(&mut text, first - before);
            write(&mut text, more);
            before = first + more;
        }
        let mut before = 0;
        for (number, place) in &self.places {
            write(&mut text, number - before);
            write(&mut text, place.steps);
            write(&mut text, place.lines);
            before = *number;
        }
        f.write_str(&text)
    }
}

impl FromStr for LogPosition {
    type Err = LogPositionError;

    fn from_str(text: &str) -> Result<Self, LogPositionError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        // A cancelled deployment may have as many releases again.
        let most = 4 * MAX_OPERATIONS as u32;
        let known = |number: u32| if number <= most { Ok(number) } else { Err(LogPositionError) };
        let mut numbers = Numbers(text.as_bytes().iter());
        let mut position = Self::default();
        let mut before = 0;
        for _ in 0..known(numbers.next()?)? {
            let first = known(before + known(numbers.next()?)?)?;
            before = known(first + known(numbers.next()?)?)?;
            position.whole.extend(first..=before);
        }
        let mut before = 0;
        while !numbers.0.as_slice().is_empty() {
            before = known(before + known(numbers.next()?)?)?;
            let place = Place { steps: numbers.next()?, lines: numbers.next()? };
            if place.steps as usize > 2 * MAX_STEPS || place.lines > MAX_LINES + 1 {
                return Err(LogPositionError);
            }
            position.places.insert(before, place);
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(position: &LogPosition) -> usize {
        let text = position.to_string();
        assert_eq!(text.parse(), Ok(position.clone()), "{text}");
        assert!(text.bytes().all(|byte| DIGITS.contains(&byte)), "{text}");
        text.len()
    }

    #[test]
    fn a_position_is_read_as_it_was_written() {
        check(&LogPosition::default());
        let place = |steps, lines| Place { steps, lines };
        check(&LogPosition {
            whole: BTreeSet::from([0, 1, 2, 7, 9, 10]),
            places: BTreeMap::from([(3, place(1, 0)), (8, place(400, 9_999)), (500, place(3, MAX_LINES + 1))]),
        });
    }

    #[test]
    fn the_longest_position_fits_into_a_header() {
        let open = |number: u32| (number, Place { steps: 9, lines: 9_999 });
        let all_open = LogPosition { whole: BTreeSet::from([0]), places: (1..=500).map(open).collect() };
        assert!(check(&all_open) < 4096);
        let every_other =
            LogPosition { whole: (0..=500).step_by(2).collect(), places: (1..500).step_by(2).map(open).collect() };
        assert!(check(&every_other) < 4096);
    }

    #[test]
    fn what_no_log_gave_is_refused() {
        for text in ["!", "B", "BB", "_", "________", "A%", "BA__f", "ABA", "ABB______D"] {
            assert_eq!(text.parse::<LogPosition>(), Err(LogPositionError), "{text}");
        }
    }
}
