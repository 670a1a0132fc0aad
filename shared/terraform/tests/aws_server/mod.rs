//! A server in AWS's place, as small as one can be: it tells who asks (STS), and keeps log groups. It listens on
//! 127.0.0.1 and ends with the test that holds it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// More requests than any test makes; then it ends by itself.
const MOST_REQUESTS: usize = 2_000;
/// The longest body that it takes.
const MOST_BYTES: usize = 1 << 20;
/// A log group whose name begins so is never made: the answer does not come.
pub const NEVER: &str = "never";

const JSON: &str = "application/x-amz-json-1.1";
const XML: &str = "text/xml";

/// The running server.
pub struct AwsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    /// Names, and for how many days each keeps what is written, if not for ever.
    groups: Mutex<BTreeMap<String, Value>>,
}

struct Request {
    /// The id of the key that signed it.
    key: String,
    /// `Logs_20140328.CreateLogGroup`, where the service speaks JSON.
    target: String,
    body: Vec<u8>,
}

impl AwsServer {
    /// Starts one on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the port is known");
        let shared = Arc::new(Shared::default());
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

    /// The log groups that there are.
    pub fn groups(&self) -> Vec<String> {
        self.shared.groups.lock().expect("the groups").keys().cloned().collect()
    }

    /// Forgets all log groups.
    pub fn forget(&self) {
        self.shared.groups.lock().expect("the groups").clear();
    }
}

impl Drop for AwsServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = read(&stream)?;
    let Some((status, kind, body)) = answer(shared, &request) else {
        // Until whoever asked has gone away.
        stream.set_read_timeout(None)?;
        return io::copy(&mut stream, &mut io::sink()).map(drop);
    };
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn read(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut key, mut target) = (0, String::new(), String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "x-amz-target" => value.trim().clone_into(&mut target),
            "authorization" => {
                let signed = value.split_once("Credential=").map(|(_, rest)| rest);
                key = signed.and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
            }
            _ => {}
        }
    }
    let mut body = vec![0; length.min(MOST_BYTES)];
    reader.read_exact(&mut body)?;
    Ok(Request { key, target, body })
}

/// Status, type and body; `None` where no answer comes.
fn answer(shared: &Shared, request: &Request) -> Option<(u16, &'static str, String)> {
    let Request { key, target, body } = request;
    if String::from_utf8_lossy(body).starts_with("Action=GetCallerIdentity") {
        let who = format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::123456789012:user/{key}</Arn><UserId>{key}</UserId><Account>123456789012</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        return Some((200, XML, who));
    }
    let Some((_, operation)) = target.split_once('.') else {
        let error = "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>";
        // S3 alone has it bare.
        let is_bare = !String::from_utf8_lossy(body).starts_with("Action=");
        let error = if is_bare { error.to_owned() } else { format!("<ErrorResponse>{error}</ErrorResponse>") };
        return Some((403, XML, error));
    };
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let mut groups = shared.groups.lock().expect("the groups");
    let said = match operation {
        "CreateLogGroup" if text("logGroupName").starts_with(NEVER) => return None,
        "CreateLogGroup" => {
            groups.insert(text("logGroupName"), Value::Null);
            json!({})
        }
        "PutRetentionPolicy" => {
            groups.insert(text("logGroupName"), asked["retentionInDays"].clone());
            json!({})
        }
        "DescribeLogGroups" => {
            let prefix = text("logGroupNamePrefix");
            let found = groups.iter().filter(|(name, _)| name.starts_with(&prefix));
            let found: Vec<Value> = found.map(|(name, days)| described(name, days)).collect();
            json!({ "logGroups": found })
        }
        "ListTagsForResource" => json!({"tags": {}}),
        "DeleteLogGroup" => {
            groups.remove(&text("logGroupName"));
            json!({})
        }
        _ => return Some((400, JSON, json!({"__type": "InvalidAction", "message": operation}).to_string())),
    };
    Some((200, JSON, said.to_string()))
}

fn described(name: &str, days: &Value) -> Value {
    let arn = format!("arn:aws:logs:eu-central-1:123456789012:log-group:{name}");
    let all = format!("{arn}:*");
    let mut group = json!({"logGroupName": name, "logGroupArn": arn, "arn": all, "logGroupClass": "STANDARD"});
    if !days.is_null() {
        group["retentionInDays"] = days.clone();
    }
    group
}
