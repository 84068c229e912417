//! What is true of a session natively and in a browser alike: bodies of tests, which a harness of each calls with the
//! address of a broker. Those about recovery are given a network that can be taken down.
//!
//! A test that is not in the list at the end is code that is never used, of which the compiler tells.

pub mod along;
pub mod deadlines;
pub mod discovery;
/// Those that take the network down.
pub use discovery as discovery_after_recovery;
pub mod examples;
pub mod filters;
/// Those that take the network down.
pub use examples as examples_of_recovery;
pub mod handlers;
pub mod recovery;
pub mod requests;
pub mod retries;
/// Those that take the network down.
pub use retries as retries_of_recovery;
pub mod sessions;
pub mod values;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_client::{Messaging, Options, Outcome, RequestError, Session, connect};
use futures_util::future::{Either, select};

/// Longer than anything takes; what needs it has failed.
pub const LONG: Duration = Duration::from_secs(20);

/// A network between a session and its broker.
pub trait Network {
    /// Of the broker, through this network.
    fn url(&self) -> String;

    /// Cuts all connections, and lets no new one come about.
    fn take_down(&self);

    /// Lets new ones come about again.
    fn bring_up(&self);
}

/// A name that no other test uses.
pub fn unique(name: &str) -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", LAST.fetch_add(1, Ordering::Relaxed))
}

/// A session of a test of its own, and its messaging.
pub async fn open(broker: &str) -> (Session, Messaging) {
    open_with(broker, Options::new()).await
}

pub async fn open_with(broker: &str, options: Options) -> (Session, Messaging) {
    let session = connect(broker, options).await.expect("connected");
    let messaging = session.messaging();
    (session, messaging)
}

/// The code and the outcome of an error.
pub fn error_of<T: std::fmt::Debug>(outcome: Result<T, RequestError>) -> (String, Outcome) {
    let error = outcome.expect_err("an error");
    (error.code().into_owned(), error.outcome())
}

/// Runs `first` until `second` is done, which is before the end of `first`.
pub async fn until<F: Future, S: Future>(first: F, second: S) -> S::Output
where
    F::Output: std::fmt::Debug,
{
    match select(std::pin::pin!(first), std::pin::pin!(second)).await {
        Either::Left((ended, _)) => panic!("it has ended with {ended:?}"),
        Either::Right((done, _)) => done,
    }
}

/// The list: calls a macro of the harness with every module and its tests.
#[macro_export]
macro_rules! every_test {
    ($harness:ident) => {
        $harness! {
            examples(broker) {
                greeting
                ordering
                asking_all
                looking_at_errors
            }
            examples_of_recovery(network) {
                watching
            }
            requests(broker) {
                a_request_to_a_path_is_answered_by_its_handler
                a_path_that_nobody_handles_is_an_error_that_says_so
                the_most_specific_handler_answers
                whatever_serde_can_serialise_arrives_as_it_was
                typed_values_keep_their_types
                an_answer_has_the_type_of_the_request_if_that_can_hold_it
                a_value_that_cannot_be_sent_fails_before_anything_is_sent
                a_response_that_is_not_what_the_program_wants_is_an_error_that_says_so
                a_request_that_nobody_answers_times_out
                a_request_does_nothing_before_it_is_awaited
                a_request_that_is_dropped_is_abandoned_and_its_late_answer_harmless
                many_requests_at_once_get_their_own_answers
                without_batching_everything_is_as_with_it
                a_small_limit_of_messages_leaves_batches_alone
                a_large_value_comes_back_as_it_was
                a_request_to_a_session_is_answered_by_its_stream_handler_at_exactly_that_path
                a_session_that_is_not_there_is_an_error_that_says_so
                a_handler_may_ask_others_before_it_answers
            }
            deadlines(broker) {
                a_handler_knows_how_much_time_is_left_if_that_was_named
                a_handler_is_dropped_when_the_request_is
                a_handler_is_dropped_when_its_senders_time_is_over
                a_request_within_another_one_has_no_more_time_than_that
            }
            along(broker) {
                a_request_that_is_repeated_under_its_key_is_handled_once
                a_key_that_is_none_is_an_error_that_says_so
                metadata_reaches_the_handler_and_a_trace_goes_on_with_requests_within_it
                the_details_of_an_error_reach_the_one_who_asks
            }
            retries(broker) {
                a_request_that_meets_busy_handlers_is_sent_again
                attempts_are_all_that_are_made
                what_was_handled_is_not_sent_again
                an_attempt_that_would_come_too_late_is_not_waited_for
                what_waits_for_its_next_attempt_fails_when_the_session_closes
                what_would_come_to_the_same_again_is_not_sent_again
            }
            retries_of_recovery(network) {
                a_request_that_finds_no_connection_is_sent_when_there_is_one
                what_waits_for_a_connection_fails_when_the_session_closes
            }
            discovery(broker) {
                sessions_are_counted_and_handlers_found
                a_watch_has_what_there_is_and_each_change
                of_changes_that_nobody_has_taken_there_is_the_last_one
                a_watch_ends_with_its_session
                a_question_has_a_time
            }
            discovery_after_recovery(network) {
                a_watch_goes_on_after_a_lost_connection
            }
            filters(broker) {
                a_request_to_a_filter_gives_the_count_and_then_every_response
                the_handler_of_a_filter_takes_the_responses_to_requests_without_one_of_their_own
                a_filter_handler_that_is_closed_or_replaced_gets_nothing
                a_filter_handler_that_is_added_to_a_closed_session_is_not_kept
                a_filter_that_matches_nobody_gives_zero
                a_filter_that_does_not_parse_says_where
                what_is_gathered_is_a_stream_of_values_and_errors
                gathering_ends_when_enough_have_answered
                gathering_fails_as_soon_as_there_cannot_be_enough
                gathering_ends_with_an_error_at_its_deadline
                gathering_what_nobody_matches_ends_at_once
                what_is_gathered_can_be_dropped
            }
            handlers(broker) {
                what_a_handler_rejects_reaches_the_one_who_asks
                what_a_handler_fails_of_reaches_the_one_who_asks
                a_request_that_a_handler_cannot_read_is_an_error_that_says_so
                a_path_can_be_registered_once
                a_handler_whose_registration_is_closed_gets_no_more_requests
                a_handler_stays_when_its_registration_is_dropped
                a_registration_that_nobody_waits_for_is_taken_back
                a_handler_learns_who_asks
                requests_are_answered_at_the_same_time_unless_the_handler_says_otherwise
                a_handler_that_has_as_many_requests_as_it_takes_is_busy
                a_handler_is_dropped_when_its_session_closes_and_the_sender_is_told
                a_stream_handler_that_is_closed_answers_no_more
                a_later_stream_handler_takes_the_place_of_an_earlier_one
                a_stream_handler_that_is_not_addressed_answers_in_place_of_a_request_handler
                a_handler_of_an_address_answers_no_path_and_the_other_way_round
            }
            sessions(broker) {
                sessions_have_ids_and_are_connected
                a_session_has_its_principal_and_properties
                a_session_can_change_its_principal
                a_round_trip_is_measured
                a_service_can_be_asked_by_its_number
                closing_says_who_closed
                everything_settles_when_a_session_closes
                a_session_that_is_closed_does_nothing_more
                events_tell_of_the_end_and_end
                a_session_is_closed_when_its_last_handle_is_dropped
                a_registration_keeps_a_session_open
                what_keeps_a_session_from_opening_has_a_code
                credentials_may_come_from_a_function
                a_connect_that_is_dropped_opens_no_session
                batching_is_there_unless_the_program_wants_none
            }
            values(_broker) {
                values_are_read_as_the_types_of_the_program
                null_is_none_of_every_type
                what_does_not_fit_is_an_error
                nesting_has_a_bound
            }
            recovery(network) {
                a_request_under_way_gets_its_answer_over_the_next_connection
                events_tell_of_a_lost_connection_and_of_the_next_one
                a_handler_is_still_there_after_a_lost_connection
                a_request_waits_for_a_connection_only_if_it_says_so
                a_request_that_waits_has_its_deadline_all_the_same
                a_session_that_does_not_reconnect_ends_with_its_connection
                a_session_that_finds_no_connection_gives_up
                a_session_can_be_closed_while_it_has_no_connection
                credentials_are_asked_for_again_with_every_connection
                the_program_chooses_how_long_to_wait_for_the_next_attempt
                an_attempt_can_be_made_at_once
                what_was_sent_together_gets_its_answers_over_the_next_connection
            }
        }
    };
}
