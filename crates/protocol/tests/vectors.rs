//! Recorded messages, read from `tests/vectors/vectors.json`: bytes of other implementations, both directions.
//!
//! Every vector is read; what this crate can write in one form only is written again and must give the same bytes.
//! Messages of protocols below 22 are read through an adapter that only these tests have (section 4.2).

mod support;

use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::handshake::{ConnectRequest, ConnectResponse, Credentials};
use antiphon_protocol::wire::layouts::{
    ErrorReport, FilterAnswer, FilterOutcome, SerialisedValue, ServiceFailure, WireCredentials,
};
use antiphon_protocol::wire::primitives::SessionId;
use antiphon_protocol::wire::services::{
    FilterResponseDelivery, MessagingFilterSender, MessagingReceiverClient, MessagingReceiverServer, MessagingSend,
    Service, ServiceRequest, service_name,
};
use antiphon_protocol::wire::{Decode, DecodeError, Reader, decode_all, encoded};
use serde_json::{Value as Json, json};
use support::{Vector, vectors};

const OLDEST_SPOKEN: u64 = 22;

#[test]
fn every_message_is_read_as_recorded_and_written_back_to_the_same_bytes() {
    let mut written = 0;
    for vector in vectors("message").filter(|vector| vector.protocol() >= OLDEST_SPOKEN) {
        let message = Message::decode(&vector.bytes).unwrap_or_else(|error| panic!("{vector}: {error}"));
        check_message(&vector, &message);
        assert_eq!(message.to_frame(), vector.bytes, "{vector}");
        check_body(&vector, &message);
        written += 1;
    }
    println!("messages at protocol 22 and above: {written} read and written");
    assert_eq!(written, 130);
}

#[test]
fn messages_of_older_protocols_are_read_through_an_adapter() {
    let mut read = 0;
    for vector in vectors("message").filter(|vector| vector.protocol() < OLDEST_SPOKEN) {
        let adapted = from_older(&vector.bytes);
        let message = Message::decode(&adapted).unwrap_or_else(|error| panic!("{vector}: {error}"));
        check_message(&vector, &message);
        check_body(&vector, &message);
        read += 1;
    }
    println!("messages of older protocols: {read} read");
    assert_eq!(read, 25);
}

#[test]
fn every_handshake_request_is_read_and_those_of_today_are_written_back_to_the_same_bytes() {
    let (mut read, mut written) = (0, 0);
    for vector in vectors("handshake-request") {
        let decoded = &vector.decoded;
        let in_query = decoded["in"] == "query";
        let text = vector.text();
        let request = if in_query {
            ConnectRequest::from_query(text.split_once('?').expect("a query").1)
        } else {
            let headers: Vec<_> = text.lines().map(|line| line.split_once(':').expect("a header")).collect();
            ConnectRequest::from_headers(|name| {
                headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.trim_start())
            })
        };
        let request = request.unwrap_or_else(|error| panic!("{vector}: {error}"));
        let parameters = &decoded["params"];
        assert_eq!(request.version.to_string(), parameters["v"].as_str().expect("v"), "{vector}");
        assert_eq!(request.client_type, parameters["ty"].as_str().expect("ty"), "{vector}");
        assert_eq!(request.principal.as_deref(), parameters["username"].as_str(), "{vector}");
        let expected = match decoded["credentials"]["type"].as_str() {
            Some("plain") => Credentials::Password(decoded["credentials"]["text"].as_str().expect("text").into()),
            _ => Credentials::None,
        };
        assert!(request.credentials == expected, "{vector}");
        if let Some(properties) = decoded["properties"].as_object() {
            let given = request.properties.clone().expect("properties");
            let given: serde_json::Map<_, _> = given.into_iter().map(|(key, value)| (key, json!(value))).collect();
            assert_eq!(&given, properties, "{vector}");
        }
        let recovery = request.recovery.as_ref();
        assert_eq!(recovery.map(|recovery| recovery.token.as_str()), parameters["c"].as_str(), "{vector}");
        let sequence = |name: &str| parameters[name].as_str().map(|text| text.parse::<u64>().expect("a number"));
        assert_eq!(recovery.map(|recovery| recovery.oldest_sent), sequence("cs"), "{vector}");
        assert_eq!(recovery.map(|recovery| recovery.last_received), sequence("ss"), "{vector}");
        read += 1;
        if u64::from(request.version) < OLDEST_SPOKEN {
            continue;
        }
        let again = if in_query {
            format!("/diffusion?{}", request.to_query())
        } else {
            let headers = request.to_headers();
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\r\n")
        };
        assert_eq!(again, text, "{vector}");
        written += 1;
    }
    println!("handshake requests: {read} read, {written} of today's written");
    assert_eq!((read, written), (17, 8));
}

#[test]
fn every_connection_response_is_read_and_those_of_today_are_written_back_to_the_same_bytes() {
    let (mut read, mut written) = (0, 0);
    for vector in vectors("handshake-response") {
        let adapted = responses_of_today(&vector.bytes);
        let response = ConnectResponse::decode(&adapted).unwrap_or_else(|error| panic!("{vector}: {error}"));
        let decoded = &vector.decoded;
        let (version, code) = match &response {
            ConnectResponse::Refused { version, code } => (version, code),
            ConnectResponse::Accepted { version, code, session, token, ping_period, tail, features } => {
                assert_eq!(*features, None, "{vector}");
                assert_eq!(session.to_string(), decoded["sessionId"], "{vector}");
                assert_eq!(token.as_text(), decoded["token"].as_str().expect("a token"), "{vector}");
                assert_eq!(*ping_period, decoded["pingPeriod"].as_i64().unwrap_or(0), "{vector}");
                let expected = decoded.get("maximumMessageSize").or(decoded.get("recoverySequence"));
                assert_eq!(i64::from(*tail), expected.and_then(Json::as_i64).unwrap_or(0), "{vector}");
                (version, code)
            }
        };
        assert_eq!(json!(version), decoded["version"], "{vector}");
        assert_eq!(json!(code.0), decoded["code"], "{vector}");
        read += 1;
        if adapted == vector.bytes {
            assert_eq!(response.to_frame(), vector.bytes, "{vector}");
            written += 1;
        }
    }
    println!("connection responses: {read} read, {written} of today's written");
    assert_eq!((read, written), (17, 9));
}

#[test]
fn every_primitive_is_read_and_written_back_to_the_same_bytes() {
    let mut count = 0;
    for vector in vectors("primitive") {
        let decoded = &vector.decoded;
        let again = if let Some(number) = decoded.get("varint32") {
            let value: i32 = decode_all(&vector.bytes).expect("a varint32");
            assert_eq!(json!(value), *number, "{vector}");
            encoded(&value)
        } else if let Some(number) = decoded.get("varint64") {
            let value: i64 = decode_all(&vector.bytes).expect("a varint64");
            assert_eq!(json!(value.to_string()), *number, "{vector}");
            encoded(&value)
        } else {
            let value: SessionId = decode_all(&vector.bytes).expect("a session ID");
            assert_eq!(json!(value.to_string()), decoded["sessionId"], "{vector}");
            assert_eq!(value.to_string().parse(), Ok(value), "{vector}");
            encoded(&value)
        };
        assert_eq!(again, vector.bytes, "{vector}");
        count += 1;
    }
    println!("primitives: {count} read and written");
    assert_eq!(count, 21);
}

#[test]
fn everything_malformed_is_refused() {
    let mut count = 0;
    // Malformed values are for those who look into values.
    for vector in vectors("invalid").filter(|vector| !vector.name.contains("CBOR")) {
        let refused = if vector.name.contains("varint32") {
            decode_all::<i32>(&vector.bytes).is_err()
        } else if vector.name.contains("varint64") {
            decode_all::<i64>(&vector.bytes).is_err()
        } else {
            match Message::decode(&vector.bytes) {
                Ok(Message::ServiceRequest { service, body, .. }) => ServiceRequest::decode(service, body).is_err(),
                Ok(_) => false,
                Err(_) => true,
            }
        };
        assert!(refused, "{vector}");
        count += 1;
    }
    println!("malformed: {count} refused");
    assert_eq!(count, 10);
}

/// The envelope.
fn check_message(vector: &Vector, message: &Message<'_>) {
    let decoded = &vector.decoded;
    let (kind, conversation) = match message {
        Message::ServiceRequest { service, conversation, .. } => {
            assert_eq!(json!(service), decoded["service"], "{vector}");
            ("SERVICE_REQUEST", Some(conversation))
        }
        Message::ServiceResponse { conversation, .. } => ("SERVICE_RESPONSE", Some(conversation)),
        Message::ServiceError { conversation, failure: ServiceFailure { description, reason } } => {
            assert_eq!(json!(description), decoded["body"]["description"], "{vector}");
            assert_eq!(json!(reason.0), decoded["body"]["code"], "{vector}");
            ("SERVICE_ERROR", Some(conversation))
        }
        Message::Abort => ("ABORT_NOTIFICATION", None),
        Message::CloseRequest => ("CLOSE_REQUEST", None),
        Message::Topic => panic!("{vector}: no such vector"),
    };
    assert_eq!(decoded["message"], kind, "{vector}");
    assert_eq!(conversation.map(|id| id.0), decoded["cid"].as_i64(), "{vector}");
}

/// The body: every field as recorded, and written back to the same bytes.
fn check_body(vector: &Vector, message: &Message<'_>) {
    let expected = &vector.decoded["body"];
    let bodies = match message {
        Message::ServiceRequest { service, body, .. } => {
            let request = ServiceRequest::decode(*service, body).unwrap_or_else(|error| panic!("{vector}: {error}"));
            let Some(request) = request else {
                // A service that nobody knows, sent to see what the clients make of it.
                assert_eq!((service_name(*service), &vector.decoded["opaque"]), (None, &json!(true)), "{vector}");
                return;
            };
            let (again, fields) = describe_request(&request);
            (again, fields, *body)
        }
        Message::ServiceResponse { body, .. } => {
            let service = vector.decoded["service"].as_u64().expect("a service");
            let (again, fields) = describe_response(service, body).unwrap_or_else(|error| panic!("{vector}: {error}"));
            (again, fields, *body)
        }
        _ => return,
    };
    let (again, fields, body) = bodies;
    assert_eq!(again, body, "{vector}");
    for (name, value) in fields.as_object().expect("an object") {
        assert_eq!(value, &expected[name], "{vector}: {name}");
    }
}

fn describe_request(request: &ServiceRequest<'_>) -> (Vec<u8>, Json) {
    match request {
        ServiceRequest::MessagingSend(body) => (encoded(body), with_value(json!({ "path": body.path }), &body.request)),
        ServiceRequest::MessagingReceiverServer(body) => {
            let fields = json!({ "path": body.path, "sessionId": body.session.to_string() });
            (encoded(body), with_value(fields, &body.request))
        }
        ServiceRequest::MessagingReceiverClient(body) => {
            let properties: serde_json::Map<_, _> =
                body.properties.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            let fields = json!({
                "registrationConversation": body.registration.0,
                "sessionId": body.sender.to_string(),
                "path": body.path,
                "properties": properties,
            });
            (encoded(body), with_value(fields, &body.request))
        }
        ServiceRequest::Registration(body) => {
            let fields = json!({
                "serviceId": body.delivery_service,
                "controlGroup": body.control_group,
                "path": body.path,
                "keys": body.property_keys,
                "registrationConversation": body.registration.0,
            });
            (encoded(body), fields)
        }
        ServiceRequest::Deregistration(body) => {
            let fields = json!({
                "serviceId": body.delivery_service,
                "controlGroup": body.control_group,
                "path": body.path,
                "keys": body.property_keys,
            });
            (encoded(body), fields)
        }
        ServiceRequest::MessagingFilterSender(body) => {
            let fields =
                json!({ "filterConversation": body.filter_conversation.0, "filter": body.filter, "path": body.path });
            (encoded(body), with_value(fields, &body.request))
        }
        ServiceRequest::FilterResponseDelivery(body) => {
            let fields = json!({
                "filterConversation": body.filter_conversation.0,
                "sessionId": body.session.to_string(),
                "kind": match body.answer { FilterAnswer::Response(_) => 0, FilterAnswer::Error(_) => 1 },
            });
            if let FilterAnswer::Error(error) = &body.answer {
                let text = json!({ "code": error.reason.0, "description": error.description });
                let mut fields = fields;
                fields["error"] = text;
                return (encoded(body), fields);
            }
            (encoded(body), fields)
        }
        ServiceRequest::GetProperties(body) => {
            (encoded(body), json!({ "sessionId": body.session.to_string(), "keys": body.keys }))
        }
        ServiceRequest::ReAuthenticate(body) => {
            if let WireCredentials::Password(password) = body.credentials {
                assert!(!password.is_empty());
            }
            (encoded(body), json!({ "principal": body.principal }))
        }
        ServiceRequest::ChangeOwnPrincipal(body) => (encoded(body), json!({ "principal": body.principal })),
        ServiceRequest::CloseClient(session) => (encoded(session), json!({ "sessionId": session.to_string() })),
        ServiceRequest::SetProperties(body) => (encoded(body), json!({ "sessionId": body.session.to_string() })),
        // Those without a body. Of a service with one, the bytes would not be those that were recorded.
        _ => (Vec::new(), json!({})),
    }
}

fn describe_response(service: u64, body: &[u8]) -> Result<(Vec<u8>, Json), DecodeError> {
    let service = u32::try_from(service).expect("a service");
    Ok(match service {
        MessagingSend::ID | MessagingReceiverServer::ID | MessagingReceiverClient::ID => {
            let value: SerialisedValue<'_> = decode_all(body)?;
            (encoded(&value), with_value(json!({}), &value))
        }
        MessagingFilterSender::ID => {
            let outcome: FilterOutcome<'_> = decode_all(body)?;
            let fields = match &outcome {
                FilterOutcome::Matched(count) => json!({ "kind": 0, "count": count }),
                FilterOutcome::Rejected(reports) => json!({
                    "kind": 1,
                    "errors": reports.iter().map(|ErrorReport { message, line, column }| {
                        json!({ "message": message, "line": line, "column": column })
                    }).collect::<Vec<_>>(),
                }),
            };
            (encoded(&outcome), fields)
        }
        67 | 202 => {
            let properties: Option<Vec<(&str, &str)>> = decode_all(body)?;
            (encoded(&properties), json!({}))
        }
        5 | 203 => {
            let accepted: bool = decode_all(body)?;
            (encoded(&accepted), json!({}))
        }
        FilterResponseDelivery::ID | 14 | 55 | 56 | 97 | 98 => {
            decode_all::<()>(body)?;
            (Vec::new(), json!({}))
        }
        other => panic!("a response of service {other}"),
    })
}

/// Adds the data type and the bytes of a value; a vector shows both beside the other fields.
fn with_value(mut fields: Json, value: &SerialisedValue<'_>) -> Json {
    fields["dataType"] = json!(value.type_name);
    fields["bytes"] = json!(hex::encode(value.bytes));
    fields
}

/// Types 1 and 2 with the service ID become 6 and 7 without it.
fn from_older(frame: &[u8]) -> Vec<u8> {
    let Some(newer) = frame.first().and_then(|kind| match kind {
        1 => Some(6),
        2 => Some(7),
        _ => None,
    }) else {
        return frame.to_vec();
    };
    let mut input = Reader::new(&frame[1..]);
    u32::decode(&mut input).expect("a service");
    [&[newer], input.rest()].concat()
}

/// Older responses lack the ping period or the four bytes after it; zeros stand for them.
fn responses_of_today(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame.len() > 3 && frame.len() < 55 {
        frame.resize(55, 0);
    }
    frame
}
