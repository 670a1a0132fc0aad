//! A server that keeps states for terraform's HTTP backend, as small as one can be: GET, POST, DELETE, LOCK and UNLOCK,
//! with basic authentication. It listens on 127.0.0.1 and ends with the test that holds it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// More requests than any test makes; then it ends by itself.
const MOST_REQUESTS: usize = 2_000;
/// The longest body that it takes.
const MOST_BYTES: usize = 4 << 20;

/// The running server.
pub struct StateServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    authorization: Option<&'static str>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    states: BTreeMap<String, Vec<u8>>,
    locks: BTreeMap<String, Vec<u8>>,
    methods: Vec<String>,
    refused: BTreeMap<String, u16>,
}

struct Request {
    method: String,
    path: String,
    authorization: Option<String>,
    body: Vec<u8>,
}

impl StateServer {
    /// Starts one on a free port; others than those with this `Authorization` header are refused.
    pub fn start(authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the port is known");
        let shared = Arc::new(Shared { authorization, ..Shared::default() });
        let served = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().take(MOST_REQUESTS) {
                if served.ended.load(Ordering::Relaxed) {
                    break;
                }
                let shared = served.clone();
                thread::spawn(move || stream.and_then(|stream| serve(&shared, stream)));
            }
        });
        Self { address, shared }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The state at a path such as `/a/b`.
    pub fn state(&self, path: &str) -> Option<String> {
        let kept = self.shared.kept.lock().expect("the states");
        kept.states.get(path).map(|state| String::from_utf8_lossy(state).into_owned())
    }

    /// Locks a path as somebody else.
    pub fn lock(&self, path: &str) {
        let info = r#"{"ID":"somebody-else","Operation":"OperationTypeApply","Who":"somebody@else"}"#;
        self.shared.kept.lock().expect("the locks").locks.insert(path.to_owned(), info.into());
    }

    /// Answers a method with this status from now on, or as it should again.
    pub fn refuse(&self, method: &str, status: Option<u16>) {
        let mut kept = self.shared.kept.lock().expect("what is refused");
        kept.refused.remove(method);
        kept.refused.extend(status.map(|status| (method.to_owned(), status)));
    }

    /// How many locks are held.
    pub fn locks(&self) -> usize {
        self.shared.kept.lock().expect("the locks").locks.len()
    }

    /// How often a method was asked for, by those who may.
    pub fn count(&self, method: &str) -> usize {
        let kept = self.shared.kept.lock().expect("the methods");
        kept.methods.iter().filter(|asked| *asked == method).count()
    }
}

impl Drop for StateServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = read(&stream)?;
    let (status, body) = answer(shared, request);
    let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fn read(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap_or(0);
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                authorization = Some(value.trim().to_owned());
            }
            _ => {}
        }
    }
    let mut body = vec![0; length.min(MOST_BYTES)];
    reader.read_exact(&mut body)?;
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Request { method, path, authorization, body })
}

fn answer(shared: &Shared, request: Request) -> (u16, Vec<u8>) {
    let Request { method, path, authorization, body } = request;
    if shared.authorization.is_some() && authorization.as_deref() != shared.authorization {
        return (401, Vec::new());
    }
    let mut kept = shared.kept.lock().expect("the states");
    kept.methods.push(method.clone());
    if let Some(status) = kept.refused.get(&method) {
        return (*status, Vec::new());
    }
    match method.as_str() {
        "GET" => kept.states.get(&path).map_or((404, Vec::new()), |state| (200, state.clone())),
        "POST" => {
            kept.states.insert(path, body);
            (200, Vec::new())
        }
        "DELETE" => {
            kept.states.remove(&path);
            (200, Vec::new())
        }
        "LOCK" => match kept.locks.get(&path) {
            Some(held) => (423, held.clone()),
            None => {
                kept.locks.insert(path, body);
                (200, Vec::new())
            }
        },
        "UNLOCK" => {
            kept.locks.remove(&path);
            (200, Vec::new())
        }
        _ => (405, Vec::new()),
    }
}
