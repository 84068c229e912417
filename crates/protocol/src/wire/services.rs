//! THE place for service numbers: number, name, request, response (section 5.1).

use super::layouts::{
    Cancel, ChangePrincipal, ChangedProperties, CountSessions, DeregisterHandler, FilterOutcome, FilterResponse,
    FindHandlers, ForwardedRequest, FoundHandlers, GetSessionProperties, HandlersNow, Properties, Reauthenticate,
    RegisterHandler, SendToFilter, SendToPath, SendToSession, SerialisedValue, SetSessionProperties, WatchHandlers,
};
use super::primitives::{ConversationId, SessionId};
use super::{Decode, DecodeError, Encode, decode_all};

/// A numbered kind of exchange: one request, one response or error.
pub trait Service {
    /// The number on the wire.
    const ID: u32;
    /// The name in the documentation, e.g. `MESSAGING_SEND`.
    const NAME: &'static str;
    /// The body of a request.
    type Request<'a>: Encode + Decode<'a>;
    /// The body of a response.
    type Response<'a>: Encode + Decode<'a>;
}

macro_rules! services {
    (
        $($(#[$meta:meta])* $id:literal $service:ident $name:literal: $request:ty => $response:ty;)*
        beyond the protocol
        $($(#[$own_meta:meta])* $own_id:literal $own:ident $own_name:literal: $own_request:ty => $own_response:ty;)*
    ) => {
        services! { @each $($(#[$meta])* $id $service $name: $request => $response;)* }
        services! { @each $($(#[$own_meta])* $own_id $own $own_name: $own_request => $own_response;)* }

        /// The body of a service request, by service.
        ///
        /// To be matched without a catch-all arm, so that a new service does not compile until it is dealt with.
        #[derive(Clone, Debug, PartialEq)]
        pub enum ServiceRequest<'a> {
            $($(#[$meta])* $service($request),)*
            $($(#[$own_meta])* $own($own_request),)*
        }

        impl<'a> ServiceRequest<'a> {
            /// Reads the body of a request for service `id`; nothing for a service that is not listed.
            ///
            /// # Errors
            ///
            /// [`DecodeError`] if the body is not one of that service.
            pub fn decode(id: u32, body: &'a [u8]) -> Result<Option<Self>, DecodeError> {
                Ok(Some(match id {
                    $($id => Self::$service(decode_all(body)?),)*
                    $($own_id => Self::$own(decode_all(body)?),)*
                    _ => return Ok(None),
                }))
            }
        }

        /// The services of the protocol that are listed: number and name.
        pub const SERVICES: &[(u32, &str)] = &[$(($id, $name),)*];

        /// Those between our client and our broker: number and name.
        pub const OWN_SERVICES: &[(u32, &str)] = &[$(($own_id, $own_name),)*];

        /// The name of a service in the documentation; none for a number that is not listed.
        #[must_use]
        pub fn service_name(id: u32) -> Option<&'static str> {
            match id { $($id => Some($name),)* $($own_id => Some($own_name),)* _ => None }
        }
    };
    (@each $($(#[$meta:meta])* $id:literal $service:ident $name:literal: $request:ty => $response:ty;)*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug)]
            pub struct $service;

            impl Service for $service {
                const ID: u32 = $id;
                const NAME: &'static str = $name;
                type Request<'a> = $request;
                type Response<'a> = $response;
            }
        )*
    };
}

services! {
    /// Another principal for this session, as older clients ask for it.
    5 ChangeOwnPrincipal "CHANGE_PRINCIPAL": ChangePrincipal<'a> => bool;
    /// Closes another session.
    14 CloseClient "CLOSE_CLIENT": SessionId => ();
    /// The server's sign of life; the answer is the client's.
    55 SystemPing "SYSTEM_PING": () => ();
    /// Measures a round trip.
    56 UserPing "USER_PING": () => ();
    /// Properties of a session; none if there is no such session.
    67 GetProperties "GET_SESSION_PROPERTIES": GetSessionProperties<'a> => Option<Properties<'a>>;
    /// To the server: a request to whichever session handles a path. To a client: an addressed request.
    85 MessagingSend "MESSAGING_SEND": SendToPath<'a> => SerialisedValue<'a>;
    /// A request to one session.
    86 MessagingReceiverServer "MESSAGING_RECEIVER_SERVER": SendToSession<'a> => SerialisedValue<'a>;
    /// A request on its way to a registered handler.
    88 MessagingReceiverClient "MESSAGING_RECEIVER_CLIENT": ForwardedRequest<'a> => SerialisedValue<'a>;
    /// Registers a request handler.
    97 Registration "MESSAGING_RECEIVER_CONTROL_REGISTRATION": RegisterHandler<'a> => ();
    /// Takes a registration back.
    98 Deregistration "MESSAGING_RECEIVER_CONTROL_DEREGISTRATION": DeregisterHandler<'a> => ();
    /// A request to every session that a session filter matches.
    102 MessagingFilterSender "MESSAGING_FILTER_SENDER": SendToFilter<'a> => FilterOutcome<'a>;
    /// One session's answer to a request that went to a session filter.
    103 FilterResponseDelivery "FILTER_RESPONSE": FilterResponse<'a> => ();
    /// Changes properties of a session.
    105 SetProperties "SET_SESSION_PROPERTIES": SetSessionProperties<'a> => ChangedProperties<'a>;
    /// Properties of the session that asks.
    202 GetOwnProperties "GET_OWN_SESSION_PROPERTIES": () => Option<Properties<'a>>;
    /// Another principal for this session.
    203 ReAuthenticate "RE_AUTHENTICATE": Reauthenticate<'a> => bool;

    beyond the protocol

    /// To a client: the credentials of the session expire soon (section 18.4). One-way.
    1001 CredentialsWanted "CREDENTIALS_WANTED": () => ();
    /// A request is given up (section 18.8). One-way, in both directions.
    1002 Cancellation "CANCEL": Cancel => ();
    /// How many sessions a session filter matches (section 18.13).
    1003 SessionCount "COUNT_SESSIONS": CountSessions<'a> => FilterOutcome<'a>;
    /// The handlers that a request to a path would go to.
    1004 HandlerSearch "FIND_HANDLERS": FindHandlers<'a> => Option<FoundHandlers<'a>>;
    /// The same, and to be told when they change.
    1005 HandlerWatch "WATCH_HANDLERS": WatchHandlers<'a> => Option<FoundHandlers<'a>>;
    /// To a client: the handlers of a path that it watches have changed. One-way.
    1006 HandlersChanged "HANDLERS_CHANGED": HandlersNow<'a> => ();
    /// No more is to be told.
    1007 HandlerUnwatch "UNWATCH_HANDLERS": ConversationId => ();
}
