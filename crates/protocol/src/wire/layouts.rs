//! THE place for wire layouts: every body that crosses the wire. Field order is wire order.

use super::error_reason::ErrorReason;
use super::layout::{choice, layout};
use super::primitives::{ConversationId, SessionId};
use super::{Decode, DecodeError, Encode, Reader};

// Bounds of what is read, so that nothing is made of a longer one. They are no limits that anybody should meet: those are
// smaller, and who exceeds them is told so.

/// Most bytes of the name of a data type or of a control group.
pub const MAX_NAME_BYTES: usize = 256;
/// Most bytes of the name of a principal.
pub const MAX_PRINCIPAL_BYTES: usize = 4 << 10;
/// Most bytes of a password or of what else proves who somebody is.
pub const MAX_CREDENTIAL_BYTES: usize = 64 << 10;
/// Most bytes of a path, a filter or an error text.
pub const MAX_TEXT_BYTES: usize = 2 << 20;
/// Most properties, or keys of properties.
pub const MAX_ITEMS: usize = 16 << 10;

/// Session properties, or the part of them that was asked for. Order carries no meaning.
pub type Properties<'a> = Vec<(&'a str, &'a str)>;

layout! {
    /// A value and the name of its data type. A broker relays both as they are.
    ///
    /// Source: section 7.
    SerialisedValue<'a> {
        /// Lower case, e.g. `json`.
        type_name: &'a str [..MAX_NAME_BYTES],
        /// One CBOR item, or for `binary` and `record_v2` the bytes themselves.
        bytes: &'a [u8],
    }
}

layout! {
    /// A request to whichever session handles `path`; towards a recipient, an addressed request.
    ///
    /// Source: sections 8.2 and 8.3.
    SendToPath<'a> {
        /// Message path, e.g. `orders/eu`, as the sender wrote it.
        path: &'a str [..MAX_TEXT_BYTES],
        /// The request.
        request: SerialisedValue<'a>,
    }
}

layout! {
    /// A request to one session.
    ///
    /// Source: section 8.3.
    SendToSession<'a> {
        /// The recipient.
        session: SessionId,
        /// Selects the stream of the recipient, by exact equality.
        path: &'a str [..MAX_TEXT_BYTES],
        /// The request.
        request: SerialisedValue<'a>,
    }
}

layout! {
    /// A request to every session that a session filter matches.
    ///
    /// Source: section 8.4.
    SendToFilter<'a> {
        /// Named again in every [`FilterResponse`]; chosen by the sender.
        filter_conversation: ConversationId,
        /// E.g. `$Principal is 'ops'`.
        filter: &'a str [..MAX_TEXT_BYTES],
        /// Selects the stream of each recipient, by exact equality.
        path: &'a str [..MAX_TEXT_BYTES],
        /// The request.
        request: SerialisedValue<'a>,
    }
}

choice! {
    /// What became of a request to a session filter.
    ///
    /// Source: section 8.4.
    FilterOutcome<'a> {
        /// The number of sessions that the request was sent to; as many [`FilterResponse`]s follow at most.
        0 => Matched(u32),
        /// The filter does not parse; at least one report.
        1 => Rejected(Vec<ErrorReport<'a>> [..MAX_ITEMS]),
    }
}

layout! {
    /// Where and why a session filter does not parse.
    ///
    /// Source: section 4.4.
    ErrorReport<'a> {
        /// For people.
        message: &'a str [..MAX_TEXT_BYTES],
        /// From 1.
        line: i32,
        /// From 0.
        column: i32,
    }
}

layout! {
    /// One session's answer to a request that went to a session filter.
    ///
    /// Source: section 8.4.
    FilterResponse<'a> {
        /// From the [`SendToFilter`] that is answered.
        filter_conversation: ConversationId,
        /// Who answers.
        session: SessionId,
        /// The response, or why there is none.
        answer: FilterAnswer<'a>,
    }
}

choice! {
    /// A response or an error reason.
    ///
    /// Source: section 8.4.
    FilterAnswer<'a> {
        /// The response.
        0 => Response(SerialisedValue<'a>),
        /// Why there is none.
        1 => Error(ReasonAndText<'a>),
    }
}

layout! {
    /// An error reason inside a body. A service error has the two in the other order.
    ///
    /// Source: section 4.4.
    ReasonAndText<'a> {
        /// For programs.
        reason: ErrorReason,
        /// For people.
        description: &'a str [..MAX_TEXT_BYTES],
    }
}

layout! {
    /// An error reason as it answers a service request (message type 7).
    ///
    /// Source: section 4.1.
    ServiceFailure<'a> {
        /// For people.
        description: &'a str [..MAX_TEXT_BYTES],
        /// For programs.
        reason: ErrorReason,
    }
}

layout! {
    /// Registers the sender of this message as a request handler.
    ///
    /// Source: section 8.1.
    RegisterHandler<'a> {
        /// The service that deliveries will use: always 88.
        delivery_service: u32,
        /// `default` or empty; without meaning.
        control_group: &'a str [..MAX_NAME_BYTES],
        /// The handler gets requests for this path and everything below it.
        path: &'a str [..MAX_TEXT_BYTES],
        /// Which session properties of the sender accompany each request; `*F` is all fixed, `*U` all user-defined.
        property_keys: Vec<&'a str> [..MAX_ITEMS],
        /// Named again in every [`ForwardedRequest`]; chosen by the handler's side.
        registration: ConversationId,
    }
}

layout! {
    /// Takes a registration back.
    ///
    /// Source: section 8.1.
    DeregisterHandler<'a> {
        /// As registered.
        delivery_service: u32,
        /// As registered.
        control_group: &'a str [..MAX_NAME_BYTES],
        /// As registered.
        path: &'a str [..MAX_TEXT_BYTES],
        /// As registered; without meaning here.
        property_keys: Vec<&'a str> [..MAX_ITEMS],
    }
}

layout! {
    /// A request on its way to the registered handler that was chosen for it.
    ///
    /// Source: section 8.2.
    ForwardedRequest<'a> {
        /// From the [`RegisterHandler`] that it goes to.
        registration: ConversationId,
        /// Who asks.
        sender: SessionId,
        /// As the sender wrote it; may be below the registered path.
        path: &'a str [..MAX_TEXT_BYTES],
        /// Of the sender, those that the registration asks for.
        properties: Properties<'a> [..MAX_ITEMS],
        /// The request.
        request: SerialisedValue<'a>,
    }
}

layout! {
    /// Asks for properties of a session.
    ///
    /// Source: section 9.1.
    GetSessionProperties<'a> {
        /// Whose.
        session: SessionId,
        /// Which; `*F` is all fixed, `*U` all user-defined.
        keys: Vec<&'a str> [..MAX_ITEMS],
    }
}

layout! {
    /// Changes properties of a session.
    ///
    /// Source: section 9.1.
    SetSessionProperties<'a> {
        /// Whose.
        session: SessionId,
        /// New values.
        set: Option<Properties<'a>> [..MAX_ITEMS],
        /// Keys to remove.
        remove: Option<Vec<&'a str>> [..MAX_ITEMS],
    }
}

layout! {
    /// What came of changing properties.
    ///
    /// Source: section 9.1.
    ChangedProperties<'a> {
        /// Values that were set.
        set: Option<Properties<'a>> [..MAX_ITEMS],
        /// Keys that were removed.
        removed: Option<Vec<&'a str>> [..MAX_ITEMS],
    }
}

layout! {
    /// Gives the session another principal.
    ///
    /// Source: section 9.3.
    ChangePrincipal<'a> {
        /// Empty for anonymous.
        principal: &'a str [..MAX_PRINCIPAL_BYTES],
        /// Proof.
        credentials: WireCredentials<'a>,
    }
}

layout! {
    /// Gives the session another principal and new proposed properties.
    ///
    /// Source: section 9.3.
    Reauthenticate<'a> {
        /// Empty for anonymous.
        principal: &'a str [..MAX_PRINCIPAL_BYTES],
        /// Proof.
        credentials: WireCredentials<'a>,
        /// Proposed session properties.
        properties: Properties<'a> [..MAX_ITEMS],
    }
}

choice! {
    /// Credentials by kind.
    ///
    /// Source: section 2.3.
    WireCredentials<'a> {
        /// None; the bytes are empty.
        0 => None(&'a [u8] [..MAX_CREDENTIAL_BYTES]),
        /// A password, UTF-8.
        1 => Password(&'a str [..MAX_CREDENTIAL_BYTES]),
        /// Bytes that the server's authenticator understands.
        2 => Custom(&'a [u8] [..MAX_CREDENTIAL_BYTES]),
    }
}

layout! {
    /// A request is given up, or its time is over. To the server: no answer to it is wanted any more. To a client: an answer is
    /// not wanted, and a handler that has begun may stop.
    ///
    /// Source: section 18.8.
    Cancel {
        /// Of the request, chosen by the side that sent it.
        conversation: ConversationId,
        /// Whether its time is over; else its sender has given it up.
        is_timed_out: bool,
    }
}

layout! {
    /// Asks how many sessions a session filter matches.
    ///
    /// Source: section 18.13.
    CountSessions<'a> {
        /// E.g. `$Principal is 'ops'`.
        filter: &'a str [..MAX_TEXT_BYTES],
    }
}

layout! {
    /// Asks which handlers a request to a path would go to.
    ///
    /// Source: section 18.13.
    FindHandlers<'a> {
        /// Message path, e.g. `orders/eu`.
        path: &'a str [..MAX_TEXT_BYTES],
    }
}

layout! {
    /// The handlers that a request to a path would go to.
    ///
    /// Source: section 18.13.
    FoundHandlers<'a> {
        /// The path that they are registered at: the most specific one.
        path: &'a str [..MAX_TEXT_BYTES],
        /// How many there are; at least one.
        handlers: u32,
    }
}

layout! {
    /// Asks to be told whenever the handlers of a path change.
    ///
    /// Source: section 18.13.
    WatchHandlers<'a> {
        /// Named again in every [`HandlersNow`]; chosen by the client.
        watch: ConversationId,
        /// Message path, e.g. `orders/eu`.
        path: &'a str [..MAX_TEXT_BYTES],
    }
}

layout! {
    /// The handlers of a path that is watched have changed.
    ///
    /// Source: section 18.13.
    HandlersNow<'a> {
        /// From the [`WatchHandlers`].
        watch: ConversationId,
        /// Those that there are now; none if nobody handles the path.
        found: Option<FoundHandlers<'a>>,
    }
}

impl ForwardedRequest<'_> {
    /// As it is encoded, but with these properties, in their wire form, instead of its own: those of one sender are the same
    /// in many requests.
    pub fn encode_with(&self, properties: &[u8], out: &mut Vec<u8>) {
        self.registration.encode(out);
        self.sender.encode(out);
        self.path.encode(out);
        out.extend_from_slice(properties);
        self.request.encode(out);
    }
}

// Parts of bodies, for who does not need the rest: reading all of them would be a kilobyte in every page.

/// The body of a [`CountSessions`] or a [`FindHandlers`]; with a watch, of a [`WatchHandlers`].
#[must_use]
pub fn question(watch: Option<ConversationId>, filter_or_path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(watch) = watch {
        watch.encode(&mut body);
    }
    filter_or_path.encode(&mut body);
    body
}

impl HandlersNow<'_> {
    /// The watch, and what is left: as the answer to a [`WatchHandlers`], an `Option<FoundHandlers>`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if there is no watch.
    pub fn split(body: &[u8]) -> Result<(ConversationId, &[u8]), DecodeError> {
        let mut input = Reader::new(body);
        Ok((ConversationId::decode(&mut input)?, input.rest()))
    }
}

impl<'a> SendToPath<'a> {
    /// The path and the request of a [`SendToSession`].
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the body is something else.
    pub fn of_send_to_session(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(body);
        SessionId::decode(&mut input)?;
        Self::decode(&mut input)
    }

    /// The path and the request of a [`SendToFilter`].
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the body is something else.
    pub fn of_send_to_filter(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(body);
        ConversationId::decode(&mut input)?;
        <&str>::decode(&mut input)?;
        Self::decode(&mut input)
    }
}

impl<'a> RegisterHandler<'a> {
    /// The path of one.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the body is something else.
    pub fn path_in(body: &'a [u8]) -> Result<&'a str, DecodeError> {
        let mut input = Reader::new(body);
        u32::decode(&mut input)?;
        <&str>::decode(&mut input)?;
        <&str>::decode(&mut input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encoded;

    #[test]
    fn a_forwarded_request_is_the_same_with_properties_that_were_encoded_before() {
        let forwarded = |properties| ForwardedRequest {
            registration: ConversationId(7),
            sender: SessionId { server: 1, value: 2 },
            path: "path",
            properties,
            request: SerialisedValue { type_name: "json", bytes: b"\xf6" },
        };
        let properties = vec![("a", "b"), ("c", "")];
        let mut body = Vec::new();
        forwarded(vec![]).encode_with(&encoded(&properties), &mut body);
        assert_eq!(body, encoded(&forwarded(properties)));
    }

    #[test]
    fn parts_of_bodies_are_what_the_whole_has() {
        let request = SerialisedValue { type_name: "json", bytes: b"\xf6" };
        let expected = Ok(SendToPath { path: "path", request: request.clone() });
        let session = SessionId { server: 1, value: 2 };
        let body = encoded(&SendToSession { session, path: "path", request: request.clone() });
        assert_eq!(SendToPath::of_send_to_session(&body), expected);
        let filter_conversation = ConversationId(300);
        let body = encoded(&SendToFilter { filter_conversation, filter: "all", path: "path", request });
        assert_eq!(SendToPath::of_send_to_filter(&body), expected);
        let body = encoded(&RegisterHandler {
            delivery_service: 88,
            control_group: "default",
            path: "path",
            property_keys: vec!["key"],
            registration: ConversationId(1),
        });
        assert_eq!(RegisterHandler::path_in(&body), Ok("path"));
        assert_eq!(question(None, "all"), encoded(&CountSessions { filter: "all" }));
        assert_eq!(question(None, "path"), encoded(&FindHandlers { path: "path" }));
        let watch = ConversationId(300);
        assert_eq!(question(Some(watch), "path"), encoded(&WatchHandlers { watch, path: "path" }));
        let found = Some(FoundHandlers { path: "path", handlers: 2 });
        let body = encoded(&HandlersNow { watch: ConversationId(300), found: found.clone() });
        assert_eq!(HandlersNow::split(&body), Ok((ConversationId(300), &*encoded(&found))));
    }
}
