//! The functions' programs, as instances: with the variables of the stack, and the places that they are told instead.

use std::path::PathBuf;

use conductor_faults::checkout;
use conductor_runtime::Function;

use crate::ground::Ground;

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The API.
    Api,
    /// The provisioner.
    Provisioner,
    /// The sweeper.
    Sweeper,
}

/// Where an instance finds what it works with.
#[derive(Debug, Clone)]
pub struct Place {
    /// AWS, but for the table and the queue.
    pub aws: String,
    /// DynamoDB.
    pub dynamodb: String,
    /// The table's name.
    pub table: String,
    /// SQS.
    pub sqs: String,
    /// The folder for toolchains and work folders.
    pub temporary: PathBuf,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Api, Self::Provisioner, Self::Sweeper];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Provisioner => "provisioner",
            Self::Sweeper => "sweeper",
        }
    }

    /// The build that would be deployed.
    pub fn path(self) -> PathBuf {
        checkout().join("target/lambda").join(self.name()).join("bootstrap")
    }
}

impl Ground {
    /// Starts an instance, which waits for its first event then. Only the provisioner needs a role: the others are not
    /// compared with anything.
    pub async fn start(&self, program: Program, place: &Place) -> Function {
        let mut variables = self.variables[program.name()].clone();
        let text = |text: &str| text.to_owned();
        let told = [
            ("AWS_REGION", text(self.stack.value("region"))),
            ("AWS_ACCESS_KEY_ID", text("test")),
            ("AWS_SECRET_ACCESS_KEY", text("test")),
            ("AWS_ENDPOINT_URL", place.aws.clone()),
            ("AWS_ENDPOINT_URL_DYNAMODB", place.dynamodb.clone()),
            ("AWS_ENDPOINT_URL_SQS", place.sqs.clone()),
            ("TABLE_NAME", place.table.clone()),
            ("TMPDIR", place.temporary.display().to_string()),
        ];
        variables.extend(told.map(|(name, value)| (name.to_owned(), value)));
        if program == Program::Provisioner {
            variables.extend(self.session.clone());
        }
        let function = Function::start(&program.path(), &variables).await;
        function.first_poll().await;
        function
    }
}
