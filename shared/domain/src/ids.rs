//! Every id in Conductor: a newtype over UUIDv7, one line each.

use newtype_uuid::{TypedUuid, TypedUuidKind, TypedUuidTag};

macro_rules! ids {
    ($($(#[$doc:meta])* $id:ident, $kind:ident, $tag:literal;)*) => {$(
        #[doc = concat!("The kind of [`", stringify!($id), "`].")]
        #[derive(Debug)]
        pub enum $kind {}

        impl TypedUuidKind for $kind {
            fn tag() -> TypedUuidTag {
                const TAG: TypedUuidTag = TypedUuidTag::new($tag);
                TAG
            }
        }

        $(#[$doc])*
        pub type $id = TypedUuid<$kind>;
    )*};
}

ids! {
    /// A deployment.
    DeploymentId, DeploymentKind, "deployment";
    /// An operation, unique over all deployments; within its deployment an operation also has a number.
    OperationId, OperationKind, "operation";
    /// A resource instance.
    ResourceId, ResourceKind, "resource";
    /// An audit event.
    AuditId, AuditKind, "audit";
    /// A token.
    TokenId, TokenKind, "token";
}
pub use newtype_uuid::GenericUuid;
