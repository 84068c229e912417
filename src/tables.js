// The numbers of the protocol. Made from the tables of crates/protocol by its test `tables`, which says how: change
// them there.

// Data types: the number in the APIs, and the name on the wire.
export const TYPE_BINARY = 14;
export const TYPE_JSON = 15;
export const TYPE_STRING = 17;
export const TYPE_INT64 = 18;
export const TYPE_DOUBLE = 19;
export const TYPE_RECORD_V2 = 20;
export const TYPE_NAMES = [
  [14, "binary"],
  [15, "json"],
  [17, "string"],
  [18, "int64"],
  [19, "double"],
  [20, "record_v2"],
];

// Error reasons.
export const REASON_COMMUNICATION_FAILURE = 100;
export const REASON_SESSION_CLOSED = 101;
export const REASON_REQUEST_TIME_OUT = 102;
export const REASON_ACCESS_DENIED = 103;
export const REASON_UNSUPPORTED = 104;
export const REASON_CALLBACK_EXCEPTION = 105;
export const REASON_INVALID_DATA = 106;
export const REASON_NO_SUCH_SESSION = 107;
export const REASON_INCOMPATIBLE_DATATYPE = 108;
export const REASON_UNHANDLED_MESSAGE = 109;
export const REASON_CLUSTER_REPARTITION = 110;
export const REASON_INCOMPATIBLE_STATE = 111;
export const REASON_CLUSTER_ROUTING = 112;
export const REASON_TOPIC_TREE_REGISTRATION_CONFLICT = 200;
export const REASON_HANDLER_CONFLICT = 201;
export const REASON_INVALID_PATH = 202;
export const REASON_REJECTED_REQUEST = 9003;
export const REASON_BUSY = 10001;
export const REASON_CANCELLED = 10002;

// Services: number and name.
export const SERVICES = [
  [5, "CHANGE_PRINCIPAL"],
  [14, "CLOSE_CLIENT"],
  [55, "SYSTEM_PING"],
  [56, "USER_PING"],
  [67, "GET_SESSION_PROPERTIES"],
  [85, "MESSAGING_SEND"],
  [86, "MESSAGING_RECEIVER_SERVER"],
  [88, "MESSAGING_RECEIVER_CLIENT"],
  [97, "MESSAGING_RECEIVER_CONTROL_REGISTRATION"],
  [98, "MESSAGING_RECEIVER_CONTROL_DEREGISTRATION"],
  [102, "MESSAGING_FILTER_SENDER"],
  [103, "FILTER_RESPONSE"],
  [105, "SET_SESSION_PROPERTIES"],
  [202, "GET_OWN_SESSION_PROPERTIES"],
  [203, "RE_AUTHENTICATE"],
];

// Features of a connection: a bit for each, from the lowest.
export const FEATURES = [
  "batching",
  "deadlines",
  "cancelling",
  "busy",
  "idempotency",
  "metadata",
  "details",
  "discovery",
];
