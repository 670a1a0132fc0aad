//! A place to deploy in: an instance of the API, a queue, a table, and an environment. Whoever wants something done
//! brings the provisioners.

use std::time::Duration;

use conductor_acceptance::{Deployment, time, unique};
use conductor_contract::{Fixture, on_dynoxide};
use conductor_runtime::Function;
use futures::future::{join, join_all};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::api::Api;
use crate::clock::{millis, now};
use crate::count::Counter;
use crate::functions::{Place, Program};
use crate::ground::Ground;
use crate::proxy::Proxy;
use crate::queue::Queue;

/// How long a function may work on an event.
const FUNCTION_TIME: Duration = Duration::from_secs(900);
/// How long anything may take.
const LONG: Duration = Duration::from_secs(600);
/// After so long a message comes again whose work failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Where the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// On the emulator, as everything else.
    MiniStack,
    /// In this process, where a request costs little: for what must not be hidden behind the emulator's own cost.
    Dynoxide,
}

/// A place to deploy in.
pub struct World<'g> {
    /// Where instances find what they work with.
    pub place: Place,
    /// An instance of the API.
    pub api: Api,
    /// The queue.
    pub queue: Queue,
    /// An environment.
    pub environment: String,
    /// The table, where it is in this process.
    pub fixture: Option<Fixture>,
    ground: &'g Ground,
    _proxies: Vec<Proxy>,
}

/// A wake-up that an instance took.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The operation's number; none where the deployment is to be settled.
    pub operation: Option<u64>,
    /// When it was done with.
    pub ended: Timestamp,
    /// True where it has to come again.
    pub failed: bool,
}

/// A deployment that has succeeded.
pub struct Deployed {
    /// Its id.
    pub id: String,
    /// When it was asked for.
    pub asked: Timestamp,
    /// As the API shows it.
    pub shown: Deployment,
    /// The wake-ups that it took.
    pub deliveries: Vec<Delivery>,
}

impl Deployed {
    /// From the request to the end, in seconds.
    pub fn seconds(&self) -> f64 {
        millis(self.asked, time(&self.shown.0["completedAt"])) / 1000.0
    }
}

impl<'g> World<'g> {
    /// With the table there; a counter is told of all requests but the queue's.
    pub async fn on(ground: &'g Ground, store: Store, counter: Option<&Counter>) -> Self {
        let fixture = match store {
            Store::MiniStack => None,
            Store::Dynoxide => Some(on_dynoxide().await.expect("a table in this process")),
        };
        let queue = Queue::open().await;
        let endpoint = ground.endpoint().to_owned();
        let dynamodb = fixture.as_ref().map_or_else(|| endpoint.clone(), |fixture| fixture.url.clone());
        let own = || ground.stack.value("table").to_owned();
        let table = fixture.as_ref().map_or_else(own, |fixture| fixture.name.clone());
        let temporary = ground.scratch().join("tmp");
        std::fs::create_dir_all(&temporary).expect("a folder for the functions");
        let sqs = queue.url().to_owned();
        let mut place = Place { aws: endpoint, dynamodb, table, sqs, temporary };
        let mut proxies = Vec::new();
        if let Some(counter) = counter {
            for url in [&mut place.aws, &mut place.dynamodb] {
                let proxy = Proxy::before(url, counter.clone()).await;
                *url = proxy.url().to_owned();
                proxies.push(proxy);
            }
        }
        let api = Api(ground.start(Program::Api, &place).await);
        let environment = api.environment().await;
        Self { place, api, queue, environment, fixture, ground, _proxies: proxies }
    }

    /// Instances of the provisioner, which share what is unpacked already.
    pub async fn provisioners(&self, count: usize) -> Vec<Function> {
        let mut instances = Vec::with_capacity(count);
        for _ in 0..count {
            instances.push(self.ground.start(Program::Provisioner, &self.place).await);
        }
        instances
    }

    /// Asks for something, and has the instances work until nothing is left to do.
    pub async fn run<T>(&self, instances: &[Function], asking: impl Future<Output = T>) -> (T, Vec<Delivery>) {
        self.queue.expect_more();
        let asking = async {
            let answer = asking.await;
            self.queue.done();
            answer
        };
        let working = join_all(instances.iter().map(|instance| self.work(instance)));
        let ran = timeout(LONG, join(asking, working)).await;
        let (answer, deliveries) = ran.unwrap_or_else(|_| panic!("it has not ended after {LONG:?}"));
        (answer, deliveries.into_iter().flatten().collect())
    }

    async fn work(&self, instance: &Function) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while let Some(message) = self.queue.next().await {
            deliveries.push(self.deliver(message, instance).await);
        }
        deliveries
    }

    /// Hands a message to an instance, as Lambda does.
    pub async fn deliver(&self, message: String, instance: &Function) -> Delivery {
        let answer = instance.invoke(event(&message).to_string().into_bytes(), FUNCTION_TIME).await.bytes().await;
        let ended = now();
        let answer: Value = serde_json::from_slice(&answer).expect("the function answers in JSON");
        let failed = answer["batchItemFailures"].as_array().is_some_and(|failures| !failures.is_empty());
        let wake: Value = serde_json::from_str(&message).expect("a wake-up is JSON");
        if failed {
            self.queue.put(message, AGAIN);
        }
        self.queue.done();
        Delivery { operation: wake["operation"].as_u64(), ended, failed }
    }

    /// Deploys these resources for an application, to the end.
    pub async fn deploy(
        &self,
        instances: &[Function],
        application: &str,
        environment: &str,
        resources: &Value,
    ) -> Deployed {
        let body = request(application, environment, resources);
        let asked = now();
        let (answer, deliveries) = self.run(instances, self.api.post("/v1/deployments", &body)).await;
        let id = answer.text(202, "id");
        let shown = self.shown(&id).await.succeeded();
        Deployed { id, asked, shown, deliveries }
    }

    /// Deploys these resources for somebody new in the world's own environment, to the end.
    pub async fn deploy_new(&self, instances: &[Function], resources: &Value) -> Deployed {
        self.deploy(instances, &unique("app"), &self.environment, resources).await
    }

    /// A deployment as it stands.
    pub async fn shown(&self, id: &str) -> Deployment {
        Deployment(self.api.get(&format!("/v1/deployments/{id}")).await.expect(200))
    }
}

/// The body of a deployment's request.
pub fn request(application: &str, environment: &str, resources: &Value) -> Value {
    json!({"application": application, "environment": environment, "score": {"resources": resources}})
}

/// A message as SQS gives it to a function.
fn event(body: &str) -> Value {
    json!({"Records": [{
        "messageId": unique("message"),
        "receiptHandle": "handle",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "0"},
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:bench-wake",
        "awsRegion": "us-east-1",
    }]})
}
