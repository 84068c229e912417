//! What has to be the case: which errors say so, whom a request has to reach, what has to be over by when.

use std::time::Duration;

use antiphon_load::ledger::EntryId;
use antiphon_protocol::client::{CloseCode, Event, HandlersAt, RequestError, State};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;

use super::{Capacity, Client, HANDLER_TIMEOUT, Handler, LONGEST_WAY, LONGEST_WORK, Request, Work};
use crate::world::World;

impl World {
    /// Whether somebody watches who was told last what is not so.
    pub fn what_is_untold(&self) -> Option<String> {
        for (index, client) in self.clients.iter().enumerate() {
            // One that is at a broker without the feature hears nothing.
            if client.is_over || !client.core.features().has(Features::DISCOVERY) {
                continue;
            }
            for watch in client.watches.values() {
                let found = self.found_at(&watch.path);
                if watch.told.as_ref() != Some(&found) {
                    return Some(format!("client {index} has {watch:?}, and there is {found:?}"));
                }
            }
        }
        None
    }

    /// A session whose token is renewed in time, on a connection that works, does not end with the token.
    pub(super) fn check_end(&mut self, client: usize, event: &Event) {
        let is_by_server = matches!(event, Event::Closed(closed) if closed.code == CloseCode::ClosedByServer);
        let is_renewed = self.plan.token_life.is_some_and(|life| self.disturbed_at + life < self.now);
        if self.is_over && is_by_server && is_renewed {
            self.wrong(|| format!("the session of client {client} has ended: {event:?}"));
        }
    }

    /// A request fails with the connection only if the session goes on without what was under way, or does not go on.
    pub fn check_explained(&mut self, client: usize) {
        if let Some(request) = self.clients[client].unexplained.pop() {
            self.wrong(|| format!("{request:?} failed with the connection, and nothing was lost"));
        }
    }

    /// How long everything has been as it should be: what came before may have been refused before.
    pub(super) fn calm_for(&self) -> Duration {
        self.now.since(self.disturbed_at)
    }

    pub(super) fn check_lost(&mut self, client: usize, error: &RequestError) {
        let state = self.clients[client].core.state();
        let is_right = match error {
            RequestError::NotConnected => matches!(state, State::Connecting | State::Recovering),
            RequestError::TimedOut(_) | RequestError::NotSentInTime(_) | RequestError::ConnectionLost => true,
            RequestError::SessionClosed { .. } => self.clients[client].core.state() == State::Closed,
            RequestError::Refused { reason, .. } => *reason == ErrorReason::HANDLER_CONFLICT,
            _ => false,
        };
        if !is_right {
            self.wrong(|| format!("client {client}: {error:?}"));
        }
    }

    pub(super) fn check_wanted(&mut self, request: EntryId, recipient: Option<usize>) {
        let Some(wanted) = &self.requests[request.0 as usize].wanted else { return };
        let is_right = recipient.map_or(wanted.is_empty(), |recipient| wanted.contains(&recipient));
        if !is_right {
            let wanted = wanted.clone();
            self.wrong(|| format!("{request:?} was answered by {recipient:?} instead of {wanted:?}"));
        }
    }

    /// Whether an error says what is the case.
    pub(super) fn check_error(&mut self, id: EntryId, error: &RequestError) {
        let calm_since = self.calm_since();
        let request = &self.requests[id.0 as usize];
        let Request { client, sent_at, timeout, losses, .. } = *request;
        let took = self.now.since(sent_at);
        let is_lossless = losses == self.losses;
        let is_right = match error {
            RequestError::NotConnected => match request.begun_in {
                Some(State::Connecting) => true,
                Some(State::Recovering) => !request.wait,
                _ => false,
            },
            // The broker, or this client, knows no keys.
            RequestError::InvalidArgument(_) => request.is_keyed,
            RequestError::SessionClosed { sent: false } => {
                self.clients[client].core.state() == State::Closed
                    && (request.begun_in.is_some() || request.waits_since.is_some())
            }
            RequestError::NotSentInTime(_) => took >= timeout && request.wait,
            RequestError::TimedOut(_) => took >= timeout && !self.should_have_ended(request, calm_since),
            RequestError::ConnectionLost => {
                let reconnections = self.clients[client].reconnections;
                // What has not been sent survives the loss of what was before.
                let is_unsent = request.waits_since == Some(reconnections);
                self.clients[client].unexplained.push(id);
                !is_unsent
            }
            RequestError::SessionClosed { sent: true } => self.clients[client].core.state() == State::Closed,
            RequestError::Refused { reason, detail, .. } => match *reason {
                ErrorReason::CALLBACK_EXCEPTION | ErrorReason::REJECTED_REQUEST => *detail == id.0.to_string(),
                ErrorReason::SESSION_CLOSED => !is_lossless,
                ErrorReason::REQUEST_TIME_OUT => {
                    took >= self.plan.broker.request_timeout.min(HANDLER_TIMEOUT).min(timeout)
                        && !self.should_have_ended(request, calm_since)
                }
                // Whoever was there before, and has not lost anything, is still there.
                ErrorReason::UNHANDLED_MESSAGE => {
                    let is_there = |handler: &Handler| {
                        Some(&handler.path) == request.path.as_ref()
                            && handler.since <= sent_at
                            && handler.losses == self.losses
                    };
                    // But the server may prefer somebody whose registration came too late, and who takes it back.
                    let is_unwanted =
                        |client: &Client| request.path.as_ref().is_some_and(|path| client.is_unwanted(path, sent_at));
                    self.clients.iter().any(is_unwanted)
                        || !self.clients.iter().flat_map(|client| client.handlers.values()).any(is_there)
                }
                ErrorReason::NO_SUCH_SESSION => self.losses > 0,
                ErrorReason::BUSY => self.plan.is_tight || self.may_be_busy(request),
                // It waited for a session that ended, or came back without what was sent to it. Which of many that was,
                // the ledger knows.
                ErrorReason::CLUSTER_ROUTING => {
                    let is_unhandled = request.handled.is_none() || request.expected.is_some();
                    self.plan.is_tight || self.may_be_busy(request) || !is_lossless && is_unhandled
                }
                _ => false,
            },
            _ => false,
        };
        if !is_right {
            let told = format!("{id:?} failed after {took:?} with {error:?}: {request:?}, calm since {calm_since:?}");
            self.wrong(|| told);
        }
    }

    /// Whether a request that has timed out had its answer, or would have had it, long before.
    fn should_have_ended(&self, request: &Request, calm_since: Option<Moment>) -> bool {
        let Some(calm_since) = calm_since else { return false };
        let calm_since = calm_since.max(request.sent_at);
        let ready = match (&request.path, request.handled) {
            (_, Some((_, Work::Nothing))) => return false,
            // It may have waited for handlers that were busy.
            (Some(_), None) if self.may_be_busy(request) => return false,
            // It was neither delivered nor refused.
            (Some(_), None) => calm_since,
            // Of one to a session or to a filter, too little is known here.
            (None, _) => return false,
            (_, Some((handled_at, _))) => request.answered_at.unwrap_or(handled_at + LONGEST_WORK).max(calm_since),
        };
        request.losses == self.losses && ready + LONGEST_WAY < self.now
    }

    /// Whether a request may have found handlers that took no more.
    fn may_be_busy(&self, request: &Request) -> bool {
        let is_above = |limited: &String| request.path.as_ref().is_some_and(|path| path.starts_with(limited));
        self.limited.iter().any(is_above)
    }

    /// Who has to answer a request to a path, and how many each takes.
    pub(super) fn handlers_of(&self, path: &str) -> Vec<(usize, Capacity)> {
        self.most_specific(path).map_or(Vec::new(), |(_, handlers)| handlers)
    }

    /// What one who watches a path has to be told.
    fn found_at(&self, path: &str) -> Option<HandlersAt> {
        let (path, handlers) = self.most_specific(path)?;
        Some(HandlersAt { path: path.to_owned(), handlers: handlers.len() as u32 })
    }

    /// Where a request to a path goes, and who is there.
    fn most_specific<'a>(&self, path: &'a str) -> Option<(&'a str, Vec<(usize, Capacity)>)> {
        let mut longest = Some(path);
        while let Some(path) = longest {
            let at_path = |client: &Client| {
                let mut handlers = client.handlers.values().filter(|handler| handler.path == path);
                handlers.next().and_then(|handler| Some((client.recipient()?, handler.capacity)))
            };
            let found: Vec<_> = self.clients.iter().filter_map(at_path).collect();
            if !found.is_empty() {
                return Some((path, found));
            }
            longest = path.rsplit_once('/').map(|(parent, _)| parent);
        }
        None
    }

    /// The first thing that must not happen ends the story.
    pub(super) fn wrong(&mut self, what: impl FnOnce() -> String) {
        if self.fault.is_none() {
            self.fault = Some(what());
        }
    }
}
