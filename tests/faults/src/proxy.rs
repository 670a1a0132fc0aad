//! A proxy between a worker and the emulator, which fails as AWS and networks do.
//!
//! Every connection carries one request, which goes on as it came: it is signed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conductor_acceptance::Stack;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a test waits until a request is held.
const PATIENCE: Duration = Duration::from_secs(120);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Pass,
    /// AWS has too much to do.
    Refuse,
    /// The connection ends before it arrives.
    Cut,
    /// It arrives, and the answer is lost.
    Lose,
    /// It arrives once the test lets it.
    Hold,
}

/// A request on its way.
pub struct Request {
    /// Such as `PUT`.
    pub method: String,
    /// Its path, with the query.
    pub path: String,
    headers: BTreeMap<String, String>,
    head: Vec<u8>,
    body: Vec<u8>,
}

/// The proxy, for as long as it lives.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    rule: Box<dyn Fn(&Request) -> Fate + Send + Sync>,
    held: watch::Sender<usize>,
    released: watch::Sender<bool>,
    spoilt: AtomicUsize,
}

impl Proxy {
    /// Before a local stack; `rule` says what becomes of each request.
    pub async fn before(stack: &Stack, rule: impl Fn(&Request) -> Fate + Send + Sync + 'static) -> Self {
        let endpoint = stack.value("awsEndpointUrl");
        let upstream = endpoint.strip_prefix("http://").unwrap_or_else(|| panic!("{endpoint} is not http"));
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            rule: Box::new(rule),
            held: watch::channel(0).0,
            released: watch::channel(false).0,
            spoilt: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(accept(listener, shared.clone()));
        Self { url, shared, server }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until a request is held.
    pub async fn holds(&self) {
        let mut held = self.shared.held.subscribe();
        let one = timeout(PATIENCE, held.wait_for(|held| *held > 0)).await;
        assert!(one.is_ok(), "no request was held in {PATIENCE:?}");
    }

    /// Lets those go that are held; nothing more is held.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// How many requests were not just answered.
    pub fn spoilt(&self) -> usize {
        self.shared.spoilt.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        // Whoever hangs up in the middle gets no answer.
        tokio::spawn(serve(client, shared.clone()));
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let Some(request) = Request::read(&mut client).await? else { return Ok(()) };
    let fate = (shared.rule)(&request);
    if fate != Fate::Pass {
        shared.spoilt.fetch_add(1, Ordering::Relaxed);
    }
    match fate {
        Fate::Pass => client.write_all(&shared.forward(&request).await?).await?,
        Fate::Hold => {
            shared.held.send_modify(|held| *held += 1);
            let mut released = shared.released.subscribe();
            drop(released.wait_for(|released| *released).await);
            client.write_all(&shared.forward(&request).await?).await?;
        }
        Fate::Refuse => client.write_all(request.refusal().as_bytes()).await?,
        Fate::Lose => drop(shared.forward(&request).await?),
        Fate::Cut => {}
    }
    client.shutdown().await
}

impl Shared {
    async fn forward(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut upstream = TcpStream::connect(&self.upstream).await?;
        upstream.write_all(&request.head).await?;
        upstream.write_all(&request.body).await?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).await?;
        // Whoever kept the connection would find it closed.
        if let Some(end) = answer.windows(2).position(|pair| pair == b"\r\n") {
            drop(answer.splice(end..end, *b"\r\nconnection: close"));
        }
        Ok(answer)
    }
}

impl Request {
    /// The next request of a connection; `None` where it ends.
    async fn read(client: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).await? == 0 {
                return Ok(None);
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let split = |line: &String| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_lowercase(), value.trim().to_owned()))
        };
        let headers: BTreeMap<String, String> = lines.iter().skip(1).filter_map(split).collect();
        lines.retain(|line| !matches!(split(line), Some((name, _)) if name == "connection" || name == "expect"));
        let mut first = lines.first().map_or("", String::as_str).split(' ');
        let mut next = || first.next().unwrap_or_default().to_owned();
        let (method, path) = (next(), next());
        let head = format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n")).into_bytes();
        if headers.contains_key("expect") {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut request = Self { method, path, headers, head, body: Vec::new() };
        request.read_body(client).await?;
        Ok(Some(request))
    }

    async fn read_body(&mut self, client: &mut BufReader<TcpStream>) -> io::Result<()> {
        let chunked = self.headers.get("transfer-encoding").is_some_and(|encoding| encoding.contains("chunked"));
        if !chunked {
            let length = self.headers.get("content-length").and_then(|length| length.parse().ok());
            self.body.resize(length.unwrap_or(0), 0);
            client.read_exact(&mut self.body).await?;
            return Ok(());
        }
        loop {
            let mut line = String::new();
            client.read_line(&mut line).await?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            // A chunk ends with a line's end; the last one is empty.
            let mut chunk = vec![0; size + 2];
            client.read_exact(&mut chunk).await?;
            self.body.extend(line.into_bytes());
            self.body.extend(chunk);
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// What AWS says when it has too much to do, as the service says it.
    fn refusal(&self) -> String {
        let target = self.headers.get("x-amz-target").map_or("", String::as_str);
        let (status, kind, body) = if target.starts_with("DynamoDB") {
            let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"Rate exceeded"}"#;
            ("400 Bad Request", "application/x-amz-json-1.0", body)
        } else {
            let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
            ("503 Service Unavailable", "application/xml", body)
        };
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    }
}
