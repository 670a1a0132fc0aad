//! What every implementation of the engine's `Records` has to keep, run against two DynamoDB emulators that must agree:
//! dynoxide, in this process, and MiniStack, where the local stack is up.

use anyhow::{Context, Result};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};
use conductor_engine::port::Meter;
use conductor_store::Table;

/// A fresh table on one emulator.
pub struct Fixture {
    /// The store.
    pub table: Table,
    /// The emulator itself, for what the store does not do.
    pub dynamodb: Client,
    /// The table's name.
    pub name: String,
    /// The emulator's endpoint.
    pub url: String,
}

fn client(url: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(conductor_store::http_client())
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "contract"))
        .build();
    Client::from_conf(config)
}

/// A table on dynoxide, in this process.
pub async fn on_dynoxide() -> Result<Fixture> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let database = dynoxide::Database::memory().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    fixture(&url).await
}

/// A table on the local stack's MiniStack.
pub async fn on_ministack() -> Result<Fixture> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.local/stack.json");
    let text = std::fs::read_to_string(path).context("the local stack is not up: run `make up`")?;
    let stack: serde_json::Value = serde_json::from_str(&text)?;
    fixture(stack["awsEndpointUrl"].as_str().context("awsEndpointUrl in stack.json")?).await
}

/// The table as `template.yaml` has it.
async fn fixture(url: &str) -> Result<Fixture> {
    let dynamodb = client(url);
    let name = format!("contract-{}", uuid::Uuid::now_v7());
    let attribute = |name: &str, kind: ScalarAttributeType| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
    };
    let key = |name: &str, kind: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let index = |name: &str, hash: &str, range: &str, projection: ProjectionType| -> Result<GlobalSecondaryIndex> {
        Ok(GlobalSecondaryIndex::builder()
            .index_name(name)
            .key_schema(key(hash, KeyType::Hash)?)
            .key_schema(key(range, KeyType::Range)?)
            .projection(Projection::builder().projection_type(projection).build())
            .build()?)
    };
    dynamodb
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("sk", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("due_shard", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("due_at", ScalarAttributeType::N)?)
        .attribute_definitions(attribute("list", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("list_order", ScalarAttributeType::S)?)
        .key_schema(key("pk", KeyType::Hash)?)
        .key_schema(key("sk", KeyType::Range)?)
        .global_secondary_indexes(index("due", "due_shard", "due_at", ProjectionType::KeysOnly)?)
        .global_secondary_indexes(index("list", "list", "list_order", ProjectionType::All)?)
        .send()
        .await?;
    let table = Table::new(dynamodb.clone(), name.clone(), Meter::default());
    Ok(Fixture { table, dynamodb, name, url: url.to_owned() })
}
