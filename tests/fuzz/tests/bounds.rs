//! Inputs that were made to cost much: what they take grows with their size, and not faster. What one input takes at
//! most, the fuzzer watches (`make fuzz`); here are those that it could hardly find, because they have to be large.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conductor_fuzz::{configuration, events, placeholders, score, state};
use serde_json::{Value, json};

/// What any of them may take beside itself, in bytes: a function has 512 MB.
const MAX_MEMORY: usize = 64 << 20;
/// The sizes that are compared.
const SMALL: usize = 48 << 10;
const FACTOR: usize = 4;
/// Of what is linear it is the factor, and its square of what is quadratic.
const MAX_GROWTH: u32 = 10;
/// A run that other work on the machine slows down says nothing: the quickest of so many counts.
const RUNS: usize = 50;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static ALL: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all calls are handed to the system's allocator as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        ALL.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The CPU time of this thread so far.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` of our own.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the thread has a clock");
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().expect("below a second"))
}

/// What one run takes.
struct Taken {
    time: Duration,
    /// Bytes allocated, whether or not they were given back meanwhile.
    bytes: usize,
    /// The most bytes at once.
    most: usize,
}

fn run(target: fn(&[u8]), input: &str) -> Taken {
    let (before, all) = (NOW.load(Ordering::Relaxed), ALL.load(Ordering::Relaxed));
    MOST.store(before, Ordering::Relaxed);
    let began = cpu();
    target(input.as_bytes());
    let time = cpu() - began;
    Taken { time, bytes: ALL.load(Ordering::Relaxed) - all, most: MOST.load(Ordering::Relaxed) - before }
}

/// One test at a time: they share the allocator. Under nextest each has a process.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[track_caller]
fn check(target: fn(&[u8]), made: impl Fn(usize) -> String) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (small, large) = (made(SMALL), made(FACTOR * SMALL));
    assert!(small.len() <= SMALL && large.len() >= (FACTOR - 1) * SMALL, "{} and {}", small.len(), large.len());
    let (few, many) = (run(target, &small), run(target, &large));
    assert!(few.most <= MAX_MEMORY, "{} bytes of input took {} at once", small.len(), few.most);
    let allowed = few.bytes.max(SMALL) * MAX_GROWTH as usize;
    assert!(many.bytes <= allowed, "{FACTOR} times the input took {} bytes, not {}", many.bytes, few.bytes);
    let (mut least, mut most) = (few.time, many.time);
    for _ in 1..RUNS {
        least = least.min(run(target, &small).time).max(Duration::from_millis(1));
        if most <= least * MAX_GROWTH {
            return;
        }
        most = most.min(run(target, &large).time);
    }
    panic!("{FACTOR} times the input took {most:?}, not {least:?}, at the best of {RUNS} runs");
}

/// So many of a thing, as many as fit beside what else there is.
fn many(bytes: usize, thing: &str) -> usize {
    bytes.saturating_sub(1024) / (thing.len() + 1)
}

fn file(resources: Value) -> String {
    json!({"resources": resources}).to_string()
}

#[test]
fn a_long_name_above_many_values() {
    check(score, |bytes| {
        let name = "a".repeat(bytes / 2);
        file(json!({"a": {"type": "aa", "params": {"p": {name: vec![""; many(bytes / 2, "''")]}}}}))
    });
    check(score, |bytes| {
        let command = vec![1; many(bytes / 2, "1")];
        let container = json!({"image": "x", "command": command});
        json!({"resources": {}, "containers": {"a".repeat(bytes / 2): container}}).to_string()
    });
}

#[test]
fn braces_that_nothing_closes() {
    check(placeholders, |bytes| "${".repeat(bytes / 2));
    check(placeholders, |bytes| "$${".repeat(bytes / 3));
    check(score, |bytes| file(json!({"a": {"type": "aa", "params": {"p": "${".repeat((bytes - 1024) / 2)}}})));
}

#[test]
fn many_dependencies_that_are_not_there() {
    check(score, |bytes| file(json!({"a": {"type": "aa", "dependsOn": vec!["bb"; many(bytes, "'bb'")]}})));
}

#[test]
fn many_resources() {
    check(score, |bytes| {
        let resource = |index: usize| (format!("r{index:06}"), json!({"type": "aa"}));
        file((0..many(bytes, "'r000000':{'type':'aa'}")).map(resource).collect())
    });
}

#[test]
fn many_slips() {
    check(score, |bytes| {
        let slip = |index: usize| (format!("typ{index:06}"), json!(1));
        let slips: Value = (0..many(bytes, "'typ000000':1")).map(slip).collect();
        file(json!({ "a": slips }))
    });
    check(score, |bytes| {
        let texts = vec!["${resuorces.a.b}"; many(bytes, "'${resuorces.a.b}'")];
        file(json!({"a": {"type": "aa", "params": {"p": texts}}}))
    });
}

#[test]
fn many_lines_of_terraform() {
    check(events, |bytes| {
        let line = r#"{"type":"apply_complete","hook":{"resource":{"addr":"a"}}}"#;
        format!("{line}\n").repeat(many(bytes, line))
    });
}

#[test]
fn a_long_label_above_many_blocks() {
    check(configuration, |bytes| {
        let blocks = vec![json!({}); many(bytes / 2, "{}")];
        json!({"output": {"a".repeat(bytes / 2): blocks}}).to_string()
    });
}

#[test]
fn an_object_of_many_attributes() {
    check(configuration, |bytes| {
        let item = |index: usize| format!("k{index:06}=123456789,");
        let items: String = (0..many(bytes, "k000000=123456789")).map(item).collect();
        format!("locals {{\n  a = {{{items}}}\n}}\n")
    });
    check(configuration, |bytes| {
        let item = |index: usize| (format!("k{index:06}"), json!(123_456));
        let items: Value = (0..many(bytes, "'k000000':123456")).map(item).collect();
        json!({"locals": {"a": items}}).to_string()
    });
    // The parser of types gets the text after the escapes are gone.
    check(configuration, |bytes| {
        let item = |index: usize| format!(r"k{index:06}\u003dany,");
        let items: String = (0..many(bytes, r"k000000\u003dany")).map(item).collect();
        format!(r#"{{"variable": {{"a": {{"type": "object({{{items}}})"}}}}}}"#)
    });
}

#[test]
fn a_long_type_of_many_instances() {
    check(state, |bytes| {
        let instances = vec![json!({"index_key": 1}); many(bytes / 2, "{'index_key':1}")];
        let kind = "a".repeat(bytes / 2 - 1024);
        let resource = json!({"mode": "managed", "type": kind, "name": "b", "instances": instances});
        json!({"version": 4, "serial": 1, "resources": [resource]}).to_string()
    });
}

#[test]
fn a_wrong_type_that_is_long_and_deep() {
    check(configuration, |bytes| {
        let items = "1,".repeat(many(bytes, "1"));
        format!("variable \"a\" {{\n  type = {}{items}{}\n}}\n", "[".repeat(50), "]".repeat(50))
    });
}
