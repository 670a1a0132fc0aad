//! What AWS's own API shows of the stack: states and their locks, records, queues, buckets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use conductor_acceptance::{Stack, sdk_config, unique};
use serde_json::{Value, json};

/// The tenant, with which all keys begin.
pub const ORGANISATION: &str = "default";
/// How long a message stays hidden that a test only looks at, in seconds.
const LOOKED_AT: i32 = 2;

/// The AWS side of the stack.
pub struct Cloud {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    sts: aws_sdk_sts::Client,
    table: String,
    states: String,
    queue: String,
    worker_queue: String,
    dead_letters: String,
}

/// A record as it lies in the table.
pub struct Row {
    /// Its type, such as `lease`.
    pub record: String,
    /// Its body.
    pub body: Value,
    /// True where the sweeper has to look at it.
    pub is_due: bool,
}

impl Cloud {
    /// Of a local stack.
    pub fn of(stack: &Stack) -> Self {
        let config = sdk_config(stack);
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let value = |name: &str| stack.value(name).to_owned();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
            table: value("table"),
            states: value("stateBucket"),
            queue: value("queueUrl"),
            worker_queue: value("workerQueueUrl"),
            dead_letters: value("deadLetterQueueUrl"),
        }
    }

    // The table

    /// A record's body, by its keys without the organisation.
    pub async fn record(&self, pk: &str, sk: &str) -> Option<Value> {
        let request = self.dynamodb.get_item().table_name(&self.table).consistent_read(true);
        let request = request.key("pk", AttributeValue::S(format!("{ORGANISATION}#{pk}")));
        let found = request.key("sk", AttributeValue::S(sk.to_owned())).send().await.expect("the table can be read");
        found.item.map(|row| read(&row).body)
    }

    /// The lease of an operation.
    pub async fn lease(&self, deployment: &str, number: usize) -> Option<Value> {
        self.record(&format!("DEP#{deployment}"), &format!("LEASE#{number:06}")).await
    }

    /// An operation.
    pub async fn operation(&self, deployment: &str, number: usize) -> Value {
        let found = self.record(&format!("DEP#{deployment}"), &format!("OP#{number:06}")).await;
        found.expect("an operation of that number")
    }

    /// A resource.
    pub async fn resource(&self, id: &str) -> Value {
        self.record(&format!("RES#{id}"), "META").await.expect("a resource of that id")
    }

    /// All records.
    pub async fn rows(&self) -> Vec<Row> {
        let request = self.dynamodb.scan().table_name(&self.table).consistent_read(true);
        let items = request.into_paginator().items().send().try_collect().await.expect("the table can be scanned");
        items.iter().map(read).collect()
    }

    // States

    /// The keys of an environment's states and locks.
    pub async fn states(&self, environment: &str) -> Vec<String> {
        self.keys(&format!("{ORGANISATION}/{environment}/")).await
    }

    /// The locks of an environment's states.
    pub async fn locks(&self, environment: &str) -> Vec<String> {
        let mut keys = self.states(environment).await;
        keys.retain(|key| key.ends_with(".tflock"));
        keys
    }

    /// The states of an environment that terraform could not store.
    pub async fn errored_states(&self, environment: &str) -> Vec<String> {
        self.keys(&format!("errored/{ORGANISATION}/{environment}/")).await
    }

    /// The state of a resource; `None` where there is none.
    pub async fn state(&self, resource: &Value) -> Option<Value> {
        let request = self.s3.get_object().bucket(&self.states).key(state_key(resource));
        match request.send().await {
            Ok(object) => {
                let content = object.body.collect().await.expect("the whole state comes").to_vec();
                Some(serde_json::from_slice(&content).expect("a state is JSON"))
            }
            Err(error) if error.code() == Some("NoSuchKey") => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Every state of a resource that was ever stored, in no order.
    pub async fn stored_states(&self, resource: &Value) -> Vec<Value> {
        let key = state_key(resource);
        let listed = self.s3.list_object_versions().bucket(&self.states).prefix(&key).send().await;
        let listed = listed.expect("versions can be listed");
        let mut states = Vec::new();
        for version in listed.versions().iter().filter(|version| version.key() == Some(key.as_str())) {
            let request = self.s3.get_object().bucket(&self.states).key(&key);
            let object = request.set_version_id(version.version_id().map(str::to_owned)).send().await;
            let content = object.expect("a version can be read").body.collect().await.expect("the whole state comes");
            states.push(serde_json::from_slice(&content.to_vec()).expect("a state is JSON"));
        }
        states
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let pages = self.s3.list_objects_v2().bucket(&self.states).prefix(prefix).into_paginator().send();
        let pages = pages.try_collect().await.expect("the state bucket can be listed");
        pages.iter().flat_map(|page| page.contents()).filter_map(|object| object.key()).map(str::to_owned).collect()
    }

    // Buckets that templates make

    /// The buckets whose names begin like this.
    pub async fn buckets(&self, prefix: &str) -> BTreeSet<String> {
        let listed = self.s3.list_buckets().send().await.expect("buckets can be listed");
        let names = listed.buckets().iter().filter_map(|bucket| bucket.name());
        names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// Deletes an empty bucket.
    pub async fn delete_bucket(&self, name: &str) {
        self.s3.delete_bucket().bucket(name).send().await.expect("the bucket can be deleted");
    }

    // Queues

    /// Sends a wake-up for the provisioner.
    pub async fn wake(&self, body: &str) {
        self.send(&self.queue, body, 0).await;
    }

    /// Sends a wake-up for the provisioner that comes so many seconds later.
    pub async fn wake_later(&self, body: &str, seconds: i32) {
        self.send(&self.queue, body, seconds).await;
    }

    /// Sends a message to the dead-letter queue.
    pub async fn bury(&self, body: &str) {
        self.send(&self.dead_letters, body, 0).await;
    }

    /// Some of the dead letters.
    pub async fn dead_letters(&self) -> Vec<String> {
        let messages = self.receive(&self.dead_letters).await;
        messages.into_iter().filter_map(|message| message.body).collect()
    }

    /// Removes those of the dead letters that are seen now and that `ours` knows; how many.
    pub async fn remove_dead_letters(&self, ours: impl Fn(&str) -> bool) -> usize {
        let mut removed = 0;
        for message in self.receive(&self.dead_letters).await {
            if message.body().is_some_and(&ours) {
                let request = self.sqs.delete_message().queue_url(&self.dead_letters);
                let request = request.set_receipt_handle(message.receipt_handle);
                request.send().await.expect("a message can be deleted");
                removed += 1;
            }
        }
        removed
    }

    /// Some of the messages for workers. Nobody works this queue but who is started for that, so nobody misses them.
    pub async fn messages_for_workers(&self) -> Vec<String> {
        let messages = self.receive(&self.worker_queue).await;
        messages.into_iter().filter_map(|message| message.body).collect()
    }

    /// Makes a queue of a test's own, which a worker may work, and answers with its URL.
    pub async fn make_queue(&self) -> String {
        let anyone = json!({"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [anyone]});
        let request = self.sqs.create_queue().queue_name(unique("workers"));
        let made = request.attributes(QueueAttributeName::Policy, policy.to_string()).send().await;
        made.expect("a queue can be made").queue_url.expect("a queue has a URL")
    }

    /// Deletes such a queue.
    pub async fn delete_queue(&self, url: &str) {
        self.sqs.delete_queue().queue_url(url).send().await.expect("a queue can be deleted");
    }

    /// Sends a message to such a queue.
    pub async fn send_to(&self, url: &str, body: &str) {
        self.send(url, body, 0).await;
    }

    async fn send(&self, url: &str, body: &str, seconds: i32) {
        let request = self.sqs.send_message().queue_url(url).message_body(body);
        let request = request.set_delay_seconds((seconds > 0).then_some(seconds));
        request.send().await.expect("a message can be sent");
    }

    async fn receive(&self, url: &str) -> Vec<Message> {
        let request = self.sqs.receive_message().queue_url(url).max_number_of_messages(10);
        let received = request.visibility_timeout(LOOKED_AT).send().await.expect("messages can be received");
        received.messages.unwrap_or_default()
    }

    // Roles

    /// The variables with the keys of a role's session.
    pub async fn session(&self, role: &str) -> BTreeMap<String, String> {
        let assumed = self.sts.assume_role().role_arn(role).role_session_name("faults").send().await;
        let keys = assumed.expect("the role can be assumed").credentials.expect("an answer has credentials");
        BTreeMap::from([
            ("AWS_ACCESS_KEY_ID".to_owned(), keys.access_key_id),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), keys.secret_access_key),
            ("AWS_SESSION_TOKEN".to_owned(), keys.session_token),
        ])
    }
}

/// Checks that the stored states of a resource followed each other: one lineage, and nothing else of the same serial.
/// Answers with the serials.
#[track_caller]
pub fn serials(states: &[Value]) -> BTreeSet<u64> {
    let mut by_serial: BTreeMap<u64, &Value> = BTreeMap::new();
    for state in states {
        assert_eq!(state["lineage"], states[0]["lineage"], "another lineage");
        let serial = state["serial"].as_u64().expect("a state has a serial");
        let same = by_serial.insert(serial, state);
        assert!(same.is_none_or(|same| same == state), "two states of the serial {serial}: {state:#}");
    }
    by_serial.into_keys().collect()
}

fn read(row: &HashMap<String, AttributeValue>) -> Row {
    let body = row.get("body").and_then(|body| body.as_s().ok()).expect("a row has a body");
    let mut body: Value = serde_json::from_str(body).expect("a body is JSON");
    let record = body["record"].as_str().expect("a body names its type").to_owned();
    Row { record, body: body["body"].take(), is_due: row.contains_key("due_at") }
}

/// The key in a location such as `s3://<bucket>/<key>`.
fn state_key(resource: &Value) -> String {
    let location = resource["stateLocation"]["location"].as_str().unwrap_or_default();
    let path = location.strip_prefix("s3://").and_then(|path| path.split_once('/'));
    path.unwrap_or_else(|| panic!("{location} is not s3://<bucket>/<key>")).1.to_owned()
}
