//! What a process says: output cut into lines and read as events, error output kept by its end. No I/O.

use std::io;

use super::{Control, Exit, Output, Status};
use crate::events::{Event, RunSummary};

/// What is kept of the error output.
const TAIL: usize = 64 << 10;

/// A line beyond this is cut off; terraform's longest lines hold all outputs.
const LONGEST_LINE: usize = 16 << 20;

/// A document (a state, a plan) beyond this is cut off.
const LONGEST_DOCUMENT: usize = 256 << 20;

pub(super) struct Listener<F> {
    events: bool,
    on_event: F,
    line: Vec<u8>,
    document: Vec<u8>,
    tail: Vec<u8>,
    /// Whether the error output began before its tail.
    cut: bool,
    summary: RunSummary,
}

impl<F: FnMut(&Event)> Listener<F> {
    pub(super) fn new(events: bool, on_event: F) -> Self {
        let (line, document, tail) = (Vec::new(), Vec::new(), Vec::new());
        Self { events, on_event, line, document, tail, cut: false, summary: RunSummary::default() }
    }

    /// Takes what was read from the output into `buffer`; whether there may be more.
    pub(super) fn stdout(&mut self, read: io::Result<usize>, buffer: &[u8]) -> bool {
        let Some(chunk) = chunk(read, buffer) else { return false };
        if !self.events {
            append(&mut self.document, chunk, LONGEST_DOCUMENT);
            return true;
        }
        for (index, part) in chunk.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                self.end_line();
            }
            append(&mut self.line, part, LONGEST_LINE);
        }
        true
    }

    /// Takes what was read from the error output into `buffer`; whether there may be more.
    pub(super) fn stderr(&mut self, read: io::Result<usize>, buffer: &[u8]) -> bool {
        let Some(chunk) = chunk(read, buffer) else { return false };
        self.tail.extend_from_slice(chunk);
        if self.tail.len() > 2 * TAIL {
            self.cut_tail();
        }
        true
    }

    pub(super) fn stopping(&mut self) {
        self.summary.stopping();
    }

    pub(super) fn finish(mut self, status: Status, stopped: Control) -> Exit {
        self.end_line();
        if self.tail.len() > TAIL {
            self.cut_tail();
        }
        // Half a line may hold half a secret, which nobody would recognise.
        let begin = self.tail.iter().position(|byte| *byte == b'\n').map_or(self.tail.len(), |end| end + 1);
        let whole: &[u8] = if self.cut { &self.tail[begin..] } else { &self.tail };
        let stderr = String::from_utf8_lossy(whole).into_owned();
        Exit { status, summary: self.summary, stderr, stdout: Output(self.document), stopped }
    }

    fn cut_tail(&mut self) {
        self.tail.drain(..self.tail.len() - TAIL);
        self.cut = true;
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let event = Event::parse(&line);
        self.summary.observe(&event);
        (self.on_event)(&event);
    }
}

fn chunk(read: io::Result<usize>, buffer: &[u8]) -> Option<&[u8]> {
    match read {
        Ok(0) | Err(_) => None,
        Ok(count) => buffer.get(..count),
    }
}

fn append(into: &mut Vec<u8>, part: &[u8], limit: usize) {
    let room = limit.saturating_sub(into.len());
    into.extend_from_slice(&part[..part.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_what_arrives() {
        let mut messages = Vec::new();
        let mut listener = Listener::new(true, |event: &Event| messages.push(event.message.clone()));
        for part in ["{\"@message\":\"on", "e\"}\n\n{\"@message\":\"two\"}\n", "panic: th", "ree"] {
            assert!(listener.stdout(Ok(part.len()), part.as_bytes()));
        }
        assert!(!listener.stdout(Ok(0), b""));
        let exit = listener.finish(Status::Succeeded, Control::Run);
        assert_eq!(exit.stdout, Output::default());
        assert_eq!(messages, ["one", "two", "panic: three"]);
    }

    #[test]
    fn error_output_is_kept_by_its_end() {
        let mut listener = Listener::new(true, |_: &Event| {});
        for _ in 0..2_000 {
            listener.stderr(Ok(100), format!("{:099}\n", 7).as_bytes());
        }
        listener.stderr(Ok(3), b"end");
        let exit = listener.finish(Status::Failed(1), Control::Run);
        assert!(exit.stderr.len() > TAIL - 100 && exit.stderr.len() <= TAIL, "{}", exit.stderr.len());
        assert_eq!(exit.stderr.lines().next().map(str::len), Some(99), "no half line");
        assert!(exit.stderr.ends_with("7\nend"));
    }

    #[test]
    fn a_document_is_kept_as_it_is() {
        let mut listener = Listener::new(false, |_: &Event| {});
        listener.stdout(Ok(4), b"{\n}\n");
        assert_eq!(listener.finish(Status::Succeeded, Control::Run).stdout, Output(b"{\n}\n".to_vec()));
    }
}
