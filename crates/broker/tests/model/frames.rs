//! What goes over the wire, in a form that a model can predict and a person can read.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use antiphon_broker::core::permissions::Role;
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::{ConnectRequest, ConnectResponse};
use antiphon_protocol::wire::headers::{Header, HeaderBlock, Headers};
use antiphon_protocol::wire::layouts::{
    Cancel, ChangePrincipal, DeregisterHandler, FilterAnswer, FilterOutcome, FilterResponse, ForwardedRequest,
    GetSessionProperties, Properties, Reauthenticate, RegisterHandler, SendToFilter, SendToPath, SendToSession,
    SerialisedValue, ServiceFailure, WireCredentials,
};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{
    Cancellation, ChangeOwnPrincipal, CloseClient, CredentialsWanted, Deregistration, FilterResponseDelivery,
    GetOwnProperties, GetProperties, MessagingFilterSender, MessagingReceiverClient, MessagingReceiverServer,
    MessagingSend, ReAuthenticate, Registration, Service, SystemPing, UserPing,
};

use crate::filter::Filter;

/// One connection, and the session on it if there is one. Numbers are never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(pub usize);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A value with its data type. No two requests or answers of a run have the same bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    pub type_name: String,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.type_name, self.bytes.escape_ascii())
    }
}

impl Payload {
    fn as_wire(&self) -> SerialisedValue<'_> {
        SerialisedValue { type_name: &self.type_name, bytes: &self.bytes }
    }
}

impl From<SerialisedValue<'_>> for Payload {
    fn from(SerialisedValue { type_name, bytes }: SerialisedValue<'_>) -> Self {
        Self { type_name: type_name.into(), bytes: bytes.into() }
    }
}

/// An event for the broker.
#[derive(Clone, Debug)]
pub enum Step {
    Connect(Client, ConnectRequest),
    Send(Client, Sent),
    /// A text message, or one that is too large.
    Violate(Client),
    /// A WebSocket ping.
    ShowLife(Client),
    LoseConnection(Client),
    /// Time goes on and nothing else happens.
    Rest(Duration),
    /// The time that the broker asked to be woken at, or any other.
    Wake,
    /// Other roles than the stock ones, and isolated paths, from now on.
    SetPermissions(BTreeMap<String, Role>, Vec<String>),
    /// The answer to a question of the broker: who is this? By the credentials, or that nobody has looked at them.
    Tell(u64, Told),
    /// From now on these principals may not connect, nor bearers of tokens if not.
    Reload {
        gone: Vec<String>,
        takes_tokens: bool,
    },
    Stop,
}

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    ByCredentials,
    Busy,
}

/// A message of a client.
#[derive(Clone, Debug)]
pub enum Sent {
    Register {
        conversation: i64,
        path: String,
        keys: Vec<String>,
        registration: i64,
        capacity: Capacity,
    },
    Deregister {
        conversation: i64,
        path: String,
    },
    ToPath {
        conversation: i64,
        path: String,
        request: Payload,
    },
    ToSession {
        conversation: i64,
        session: SessionId,
        path: String,
        request: Payload,
    },
    ToFilter {
        conversation: i64,
        filter_conversation: i64,
        filter: Filter,
        path: String,
        request: Payload,
    },
    /// To a request, a filter response, a ping, or to nothing.
    Answer {
        conversation: i64,
        answer: Answer,
    },
    ChangePrincipal {
        conversation: i64,
        principal: String,
        password: String,
    },
    Reauthenticate {
        conversation: i64,
        principal: String,
        password: String,
        properties: Vec<(String, String)>,
    },
    CloseClient {
        conversation: i64,
        session: SessionId,
    },
    GetProperties {
        conversation: i64,
        session: SessionId,
        keys: Vec<String>,
    },
    GetOwnProperties {
        conversation: i64,
    },
    UserPing {
        conversation: i64,
    },
    /// A request for a service that the broker does not offer.
    Unoffered {
        conversation: i64,
        service: u32,
    },
    /// Of the request in this conversation, or of none.
    Cancel {
        conversation: i64,
        is_timed_out: bool,
    },
    /// A request to others, with so many milliseconds left.
    Timed(u32, Box<Sent>),
    /// A request to a path or to a session with an idempotency key.
    Keyed(String, Box<Sent>),
    CloseRequest,
    Malformed(Vec<u8>),
}

/// How many requests a handler takes at a time, and how many may wait on its account. 0 is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    pub at_a_time: u32,
    pub waiting: u32,
}

/// A client's answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Value(Payload),
    Error(i32, String),
    /// A service response whose body is no value.
    Nonsense(Vec<u8>),
}

impl Sent {
    /// The conversation that the message starts, and its service.
    pub fn asks(&self) -> Option<(i64, u32)> {
        match self {
            Self::Register { conversation, .. } => Some((*conversation, Registration::ID)),
            Self::Deregister { conversation, .. } => Some((*conversation, Deregistration::ID)),
            Self::ToPath { conversation, .. } => Some((*conversation, MessagingSend::ID)),
            Self::ToSession { conversation, .. } => Some((*conversation, MessagingReceiverServer::ID)),
            Self::ToFilter { conversation, .. } => Some((*conversation, MessagingFilterSender::ID)),
            Self::ChangePrincipal { conversation, .. } => Some((*conversation, ChangeOwnPrincipal::ID)),
            Self::Reauthenticate { conversation, .. } => Some((*conversation, ReAuthenticate::ID)),
            Self::CloseClient { conversation, .. } => Some((*conversation, CloseClient::ID)),
            Self::GetProperties { conversation, .. } => Some((*conversation, GetProperties::ID)),
            Self::GetOwnProperties { conversation } => Some((*conversation, GetOwnProperties::ID)),
            Self::UserPing { conversation } => Some((*conversation, UserPing::ID)),
            Self::Unoffered { conversation, service } => Some((*conversation, *service)),
            Self::Timed(_, sent) | Self::Keyed(_, sent) => sent.asks(),
            Self::Answer { .. } | Self::Cancel { .. } | Self::CloseRequest | Self::Malformed(_) => None,
        }
    }

    /// The bytes of the WebSocket message.
    pub fn to_frame(&self) -> Vec<u8> {
        match self {
            Self::Register { conversation, path, keys, registration, capacity } => {
                let body = RegisterHandler {
                    delivery_service: MessagingReceiverClient::ID,
                    control_group: "default",
                    path,
                    property_keys: texts(keys),
                    registration: ConversationId(*registration),
                };
                let mut headers = HeaderBlock::default();
                headers.add_number(Header::MaxConcurrent, capacity.at_a_time);
                headers.add_number(Header::MaxQueued, capacity.waiting);
                headers.before(ask::<Registration>(*conversation, &body))
            }
            Self::Deregister { conversation, path } => {
                let body = DeregisterHandler {
                    delivery_service: MessagingReceiverClient::ID,
                    control_group: "",
                    path,
                    property_keys: vec![],
                };
                ask::<Deregistration>(*conversation, &body)
            }
            Self::ToPath { conversation, path, request } => {
                ask::<MessagingSend>(*conversation, &SendToPath { path, request: request.as_wire() })
            }
            Self::ToSession { conversation, session, path, request } => {
                let body = SendToSession { session: *session, path, request: request.as_wire() };
                ask::<MessagingReceiverServer>(*conversation, &body)
            }
            Self::ToFilter { conversation, filter_conversation, filter, path, request } => {
                let filter_conversation = ConversationId(*filter_conversation);
                let body = SendToFilter { filter_conversation, filter: &filter.text, path, request: request.as_wire() };
                ask::<MessagingFilterSender>(*conversation, &body)
            }
            Self::Answer { conversation, answer } => {
                let conversation = ConversationId(*conversation);
                match answer {
                    Answer::Value(value) => response_frame::<MessagingSend>(conversation, &value.as_wire()),
                    Answer::Error(reason, description) => {
                        let failure = ServiceFailure { description, reason: ErrorReason(*reason) };
                        Message::ServiceError { conversation, failure }.to_frame()
                    }
                    Answer::Nonsense(body) => Message::ServiceResponse { conversation, body }.to_frame(),
                }
            }
            Self::ChangePrincipal { conversation, principal, password } => {
                let body = ChangePrincipal { principal, credentials: WireCredentials::Password(password) };
                ask::<ChangeOwnPrincipal>(*conversation, &body)
            }
            Self::Reauthenticate { conversation, principal, password, properties } => {
                let properties = properties.iter().map(|(key, value)| (&**key, &**value)).collect();
                let body = Reauthenticate { principal, credentials: WireCredentials::Password(password), properties };
                ask::<ReAuthenticate>(*conversation, &body)
            }
            Self::CloseClient { conversation, session } => ask::<CloseClient>(*conversation, session),
            Self::GetProperties { conversation, session, keys } => {
                ask::<GetProperties>(*conversation, &GetSessionProperties { session: *session, keys: texts(keys) })
            }
            Self::GetOwnProperties { conversation } => ask::<GetOwnProperties>(*conversation, &()),
            Self::UserPing { conversation } => ask::<UserPing>(*conversation, &()),
            Self::Unoffered { conversation, service } => {
                let conversation = ConversationId(*conversation);
                Message::ServiceRequest { service: *service, conversation, body: &[] }.to_frame()
            }
            Self::Cancel { conversation, is_timed_out } => {
                let body = Cancel { conversation: ConversationId(*conversation), is_timed_out: *is_timed_out };
                ask::<Cancellation>(0, &body)
            }
            Self::Timed(left, sent) => {
                let mut headers = HeaderBlock::default();
                headers.add_time_left(Duration::from_millis((*left).into()));
                headers.before(sent.to_frame())
            }
            Self::Keyed(key, sent) => {
                let mut headers = HeaderBlock::default();
                headers.add(Header::IdempotencyKey, key.as_bytes());
                headers.before(sent.to_frame())
            }
            Self::CloseRequest => Message::CloseRequest.to_frame(),
            Self::Malformed(frame) => frame.clone(),
        }
    }
}

fn ask<S: Service>(conversation: i64, body: &S::Request<'_>) -> Vec<u8> {
    request_frame::<S>(ConversationId(conversation), body, 0)
}

fn texts(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// Something that a client sees, without the conversation IDs that the broker chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Accepted {
        version: u8,
        session: SessionId,
        ping_period: i64,
        max_message_size: i32,
        features: Option<Features>,
    },
    Refused {
        version: u8,
        code: u8,
    },
    /// To a request of the client.
    Reply {
        conversation: i64,
        reply: Reply,
    },
    /// A request to a registered handler (88).
    Handle {
        registration: i64,
        sender: SessionId,
        path: String,
        properties: Vec<(String, String)>,
        request: Payload,
        time_left: Option<Duration>,
    },
    /// A request to this session (85).
    Addressed {
        path: String,
        request: Payload,
        time_left: Option<Duration>,
    },
    /// One of the two above, with an idempotency key.
    Keyed(String, Box<Frame>),
    /// A request that it got is given up (1002).
    Cancelled {
        conversation: i64,
        is_timed_out: bool,
    },
    /// One answer to a request that went to a filter (103).
    FilterResponse {
        filter_conversation: i64,
        session: SessionId,
        reply: Reply,
    },
    Ping,
    /// The broker asks for fresh credentials (section 18.4).
    CredentialsWanted,
    Abort,
    /// The broker closes the connection.
    Closed,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Empty,
    Bool(bool),
    Value(Payload),
    Count(u32),
    /// Line and column of the first fault in a filter.
    Fault(i32, i32),
    Properties(Option<Vec<(String, String)>>),
    /// A prediction without a text takes any that is not empty.
    Error(i32, Option<String>),
}

impl Frame {
    /// Whether `seen` is what this predicts.
    pub fn fits(&self, seen: &Self) -> bool {
        match (self, seen) {
            (Self::Reply { conversation, reply }, Self::Reply { conversation: other, reply: seen }) => {
                conversation == other && reply.fits(seen)
            }
            (
                Self::FilterResponse { filter_conversation, session, reply },
                Self::FilterResponse { filter_conversation: other, session: other_session, reply: seen },
            ) => filter_conversation == other && session == other_session && reply.fits(seen),
            _ => self == seen,
        }
    }

    /// For counting what a test has seen.
    pub fn kind(&self) -> (&'static str, i32) {
        match self {
            Self::Accepted { .. } => ("accepted", 0),
            Self::Refused { code, .. } => ("refused", (*code).into()),
            Self::Reply { reply: Reply::Error(reason, _), .. } => ("error", *reason),
            Self::Reply { reply: Reply::Count(count), .. } => ("count", (*count).min(2).cast_signed()),
            Self::Reply { reply: Reply::Value(_), .. } => ("value", 0),
            Self::Reply { reply: Reply::Fault(..), .. } => ("fault", 0),
            Self::Reply { .. } => ("reply", 0),
            Self::Handle { .. } => ("handle", 0),
            Self::Addressed { .. } => ("addressed", 0),
            Self::Keyed(..) => ("keyed", 0),
            Self::FilterResponse { reply: Reply::Error(reason, _), .. } => ("filter error", *reason),
            Self::FilterResponse { .. } => ("filter value", 0),
            Self::Cancelled { is_timed_out, .. } => ("cancelled", (*is_timed_out).into()),
            Self::Ping => ("ping", 0),
            Self::CredentialsWanted => ("credentials wanted", 0),
            Self::Abort => ("abort", 0),
            Self::Closed => ("closed", 0),
        }
    }
}

impl Reply {
    fn fits(&self, seen: &Self) -> bool {
        match (self, seen) {
            (Self::Error(reason, None), Self::Error(seen, Some(text))) => reason == seen && !text.is_empty(),
            _ => self == seen,
        }
    }
}

/// A frame to one client, with the ID of the conversation that the broker starts with it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub client: Client,
    pub conversation: Option<i64>,
    pub frame: Frame,
}

/// Reads the first frame on a connection.
pub fn read_connect_response(frame: &[u8]) -> Result<Frame, String> {
    match ConnectResponse::decode(frame).map_err(|error| format!("no connection response: {error}"))? {
        ConnectResponse::Accepted { version, code, session, ping_period, tail, features, .. } if code.0 == 100 => {
            Ok(Frame::Accepted { version, session, ping_period, max_message_size: tail, features })
        }
        ConnectResponse::Refused { version, code } => Ok(Frame::Refused { version, code: code.0 }),
        other => Err(format!("unexpected: {other:?}")),
    }
}

/// Reads any later frame; `asked` has the services of the client's own conversations.
pub fn read(frame: &[u8], asked: &HashMap<i64, u32>) -> Result<(Option<i64>, Frame), String> {
    let malformed = |error| format!("malformed ({error}): {frame:x?}");
    let (headers, message) = Headers::split(frame, Features::WITH_HEADERS).map_err(malformed)?;
    if let Some(key) = headers.text(Header::IdempotencyKey) {
        let (conversation, delivery) = read(message, asked)?;
        return Ok((conversation, Frame::Keyed(key.to_owned(), Box::new(delivery))));
    }
    let time_left = headers.time_left();
    Ok(match Message::decode(message).map_err(malformed)? {
        Message::ServiceRequest { service: Cancellation::ID, conversation: ConversationId::ONE_WAY, body } => {
            let Cancel { conversation, is_timed_out } = decode_all(body).map_err(malformed)?;
            (None, Frame::Cancelled { conversation: conversation.0, is_timed_out })
        }
        Message::ServiceRequest { service, conversation, body } => {
            let frame = match service {
                MessagingReceiverClient::ID => {
                    let body: ForwardedRequest<'_> = decode_all(body).map_err(malformed)?;
                    Frame::Handle {
                        registration: body.registration.0,
                        sender: body.sender,
                        path: body.path.into(),
                        properties: sorted(&body.properties),
                        request: body.request.into(),
                        time_left,
                    }
                }
                MessagingSend::ID => {
                    let SendToPath { path, request } = decode_all(body).map_err(malformed)?;
                    Frame::Addressed { path: path.into(), request: request.into(), time_left }
                }
                FilterResponseDelivery::ID => {
                    let FilterResponse { filter_conversation, session, answer } =
                        decode_all(body).map_err(malformed)?;
                    let reply = match answer {
                        FilterAnswer::Response(value) => Reply::Value(value.into()),
                        FilterAnswer::Error(error) => Reply::Error(error.reason.0, Some(error.description.into())),
                    };
                    Frame::FilterResponse { filter_conversation: filter_conversation.0, session, reply }
                }
                SystemPing::ID if body.is_empty() => Frame::Ping,
                CredentialsWanted::ID if body.is_empty() && conversation == ConversationId::ONE_WAY => {
                    return Ok((None, Frame::CredentialsWanted));
                }
                _ => return Err(format!("a client cannot be asked this: {frame:x?}")),
            };
            (Some(conversation.0), frame)
        }
        Message::ServiceResponse { conversation, body } => {
            let service = asked.get(&conversation.0).ok_or_else(|| format!("answers nothing: {frame:x?}"))?;
            let reply = match *service {
                ChangeOwnPrincipal::ID | ReAuthenticate::ID => Reply::Bool(decode_all(body).map_err(malformed)?),
                MessagingSend::ID | MessagingReceiverServer::ID => {
                    Reply::Value(decode_all::<SerialisedValue<'_>>(body).map_err(malformed)?.into())
                }
                MessagingFilterSender::ID => match decode_all(body).map_err(malformed)? {
                    FilterOutcome::Matched(count) => Reply::Count(count),
                    FilterOutcome::Rejected(reports) => {
                        let report = reports.first().filter(|report| !report.message.is_empty());
                        let report = report.ok_or("a rejected filter has at least one report, with a message")?;
                        Reply::Fault(report.line, report.column)
                    }
                },
                GetProperties::ID | GetOwnProperties::ID => {
                    let properties: Option<Properties<'_>> = decode_all(body).map_err(malformed)?;
                    Reply::Properties(properties.map(|properties| sorted(&properties)))
                }
                _ => {
                    decode_all::<()>(body).map_err(malformed)?;
                    Reply::Empty
                }
            };
            (None, Frame::Reply { conversation: conversation.0, reply })
        }
        Message::ServiceError { conversation, failure } => {
            let reply = Reply::Error(failure.reason.0, Some(failure.description.into()));
            (None, Frame::Reply { conversation: conversation.0, reply })
        }
        Message::Abort => (None, Frame::Abort),
        other @ (Message::Topic | Message::CloseRequest) => return Err(format!("no client gets this: {other:?}")),
    })
}

/// Order carries no meaning.
fn sorted(properties: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut properties: Vec<_> =
        properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    properties.sort_unstable();
    properties
}
