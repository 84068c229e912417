//! THE place for error reasons: number, name, meaning (section 5.2).

use std::borrow::Cow;
use std::fmt;

use super::{Decode, DecodeError, Encode, Reader};
use crate::text;

/// A numbered cause of a refusal. Numbers that this table does not know travel and print as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorReason(pub i32);

macro_rules! error_reasons {
    ($($code:literal $name:ident $text:literal,)*) => {
        impl ErrorReason {
            $(#[doc = $text] pub const $name: Self = Self($code);)*

            /// All that are listed.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name of the reason, e.g. `ACCESS_DENIED`; none for a number that is not listed.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($code => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

error_reasons! {
    100 COMMUNICATION_FAILURE "communication with the other side failed",
    101 SESSION_CLOSED "the session is closed",
    102 REQUEST_TIME_OUT "no answer came in time",
    103 ACCESS_DENIED "the session lacks the permission",
    104 UNSUPPORTED "the service is not supported",
    105 CALLBACK_EXCEPTION "the request handler failed",
    106 INVALID_DATA "the data is not valid",
    107 NO_SUCH_SESSION "there is no such session",
    108 INCOMPATIBLE_DATATYPE "the recipient cannot read this data type",
    109 UNHANDLED_MESSAGE "nobody handles this path",
    110 CLUSTER_REPARTITION "the cluster is moving its partitions, try again",
    111 INCOMPATIBLE_STATE "the state does not allow it",
    112 CLUSTER_ROUTING "the cluster could not route the request, try again",
    200 TOPIC_TREE_REGISTRATION_CONFLICT "a conflicting registration exists in the topic tree",
    201 HANDLER_CONFLICT "this session has a handler at this path already",
    202 INVALID_PATH "the path is not valid",
    9003 REJECTED_REQUEST "the recipient rejected the request",
    10001 BUSY "all handlers have as many requests as they take at a time",
    10002 CANCELLED "the sender gave the request up",
}

impl fmt::Display for ErrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl ErrorReason {
    /// Whether it says that no handler has run.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::ACCESS_DENIED
                | Self::UNSUPPORTED
                | Self::NO_SUCH_SESSION
                | Self::INCOMPATIBLE_DATATYPE
                | Self::UNHANDLED_MESSAGE
                | Self::CLUSTER_REPARTITION
                | Self::CLUSTER_ROUTING
                | Self::HANDLER_CONFLICT
                | Self::BUSY
                | Self::INVALID_PATH
        )
    }

    /// Its name, or the number.
    #[must_use]
    pub fn to_text(self) -> Cow<'static, str> {
        self.name().map_or_else(|| Cow::Owned(text!["REASON_", self.0]), Cow::Borrowed)
    }
}

impl Encode for ErrorReason {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode<'_> for ErrorReason {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        i32::decode(input).map(Self)
    }
}
