//! What a step of the connection comes to, for the driver, the application, and all that was under way.

use super::ClientSession;
use super::connection::{Goodbye, Step};
use super::error::Loss;
use super::ids::{CallId, RequestId};
use super::output::{Event, Output};
use crate::wire::envelope::Message;

impl ClientSession {
    /// Carries out what a step asks for.
    pub(super) fn follow(&mut self, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Open(connection) => self.push(Output::Connect(connection)),
            Step::OpenAnother(connection) => {
                self.disconnect();
                self.push(Output::Connect(connection));
            }
            Step::NotOpened(error) => {
                self.disconnect();
                self.deliver(Event::ConnectFailed(error));
            }
            Step::Opened(session) => self.deliver(Event::Connected(session)),
            Step::Lost { reason, attempt } => {
                self.disconnect();
                self.deliver(Event::Disconnected(reason));
                self.push(Output::Retry(attempt));
            }
            Step::AttemptFailed { attempt } => {
                self.disconnect();
                self.push(Output::Retry(attempt));
            }
            Step::Reconnected { now, session, missed, new_session } => {
                let lossless = missed.is_some();
                match missed {
                    Some(missed) => missed.into_iter().for_each(|frame| self.put_out(frame)),
                    None => self.lose_messages(),
                }
                self.deliver(Event::Reconnected { session, lossless, new_session });
                self.send_unsent(now);
            }
            Step::Goodbye(step) => {
                match step {
                    Goodbye::Send => {
                        self.flush();
                        self.push(Output::Send(Message::CloseRequest.to_frame().into()));
                    }
                    Goodbye::Open(connection) => self.push(Output::Connect(connection)),
                    Goodbye::Wait => {}
                }
                self.settle_everything(Loss::Session);
            }
            Step::Ended { closed, loss, lost } => {
                self.disconnect();
                if let Some(reason) = lost {
                    self.deliver(Event::Disconnected(reason));
                }
                self.settle_everything(loss);
                self.deliver(Event::Closed(closed));
            }
        }
    }

    /// Tells everyone who waits, in both directions, that nothing will come any more.
    fn settle_everything(&mut self, loss: Loss) {
        self.settle_calls(loss, true);
        self.registrations.clear();
        self.abandon_received(Loss::Session);
    }

    /// The server has discarded every conversation: fails what was asked, and registers the request handlers again.
    fn lose_messages(&mut self) {
        let requests = self.settle_calls(Loss::Connection, false);
        let handlers = self.lose_registrations();
        self.abandon_received(Loss::Connection);
        self.deliver(Event::MessagesLost { requests, handlers });
        self.register_again();
    }

    /// Ends the calls whose answers will not come: all, or those that send nothing on the next connection. Returns how many
    /// requests they are.
    #[inline(never)]
    fn settle_calls(&mut self, loss: Loss, with_kept: bool) -> usize {
        let mut requests = 0;
        for id in self.calls.ids().into_iter().map(CallId) {
            if (with_kept || !self.calls.is_kept(id))
                && let Some(call) = self.calls.end(id)
            {
                requests += usize::from(call.is_request());
                self.settle(id, call, loss);
            }
        }
        requests
    }

    /// Nobody can be answered any more.
    fn abandon_received(&mut self, loss: Loss) {
        for request in self.received.ids().into_iter().map(RequestId) {
            self.received.answer(request);
            self.deliver(Event::RequestAbandoned { request, error: loss.error() });
        }
    }
}
