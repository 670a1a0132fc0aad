//! Plays a sequence with a driver: whoever can ask Conductor something, wait until it is at rest, and look.

use crate::check;
use crate::foresight::{Foresight, compare};
use crate::model::{Answer, History, Seen};
use crate::step::{Ask, Move};

/// Speaks to Conductor.
pub trait Driver {
    /// What a dry run of a request says; none where there is no dry run of it. Nothing changes by it.
    async fn foresee(&self, ask: &Ask) -> Result<Option<Foresight>, String>;

    /// Makes requests at once, and waits until everything is at rest. Answers in the order of the requests.
    async fn carry_out(&self, asks: &[Ask]) -> Result<Vec<Answer>, String>;

    /// Everything that there is.
    async fn look(&self) -> Result<Seen, String>;
}

/// Plays a sequence; what is wrong after a step ends it.
pub async fn play(driver: &impl Driver, moves: &[Move]) -> Result<(), String> {
    let mut history = History::default();
    let mut seen = driver.look().await?;
    for together in moves.split_inclusive(|one| !one.at_once) {
        let asks: Vec<Ask> = together.iter().filter_map(|one| Ask::of(&one.step, &seen)).collect();
        let told = |why: String| format!("{why}\nafter {asks:#?}");
        let foresight = match asks.as_slice() {
            [alone] => driver.foresee(alone).await.map_err(told)?,
            _ => None,
        };
        let answers = driver.carry_out(&asks).await.map_err(told)?;
        history.learn(&asks, &answers);
        seen = driver.look().await?;
        let mut wrong = check::all(&seen, &history);
        if let (Some(foresight), [answer]) = (&foresight, answers.as_slice()) {
            wrong.extend(compare(foresight, answer, &seen));
        }
        if !wrong.is_empty() {
            return Err(told(wrong.join("\n")));
        }
    }
    Ok(())
}
