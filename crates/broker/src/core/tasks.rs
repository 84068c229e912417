//! What is done a part at a time, or waits for its turn.

use std::time::Duration;
use std::vec;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::headers::HeaderBlock;
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{MessagingFilterSender, MessagingReceiverServer, MessagingSend, Service};

use super::aftermath::Failing;
use super::cancelling::GivenUp;
use super::exchanges::ReplyTo;
use super::keyed::Answering;
use super::per_session::SessionKey;
use super::registry::Leftover;
use super::search::Search;
use super::serve::Asker;

/// Something that a session asked for and that is not done yet.
#[derive(Debug)]
pub(super) enum Task {
    FanOut(Box<FanOut>),
    Count(Box<Count>),
    /// It came while an earlier one was not done, and what a session asks for happens in that order (rules M-19); or its
    /// party has had its share for now (rules M-23).
    Held(HeldRequest),
    Failing(Failing),
    LettingGo(GivenUp),
    Answering(Answering),
    /// The paths at which a session that is over is still registered.
    TakingOut(Leftover),
}

impl Task {
    /// Whether it is the request to others that a session made in this conversation.
    pub fn is_request(&self, request: ConversationId) -> bool {
        match self {
            Self::FanOut(fan_out) => fan_out.asker.conversation == request,
            Self::Held(held) => held.conversation == request && SENDING.contains(&held.service),
            Self::Count(_) | Self::Failing(_) | Self::LettingGo(_) | Self::Answering(_) | Self::TakingOut(_) => false,
        }
    }

    /// Bytes that wait with it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::FanOut(fan_out) => fan_out.len(),
            Self::Held(request) => request.len(),
            Self::Count(_) | Self::Failing(_) | Self::LettingGo(_) | Self::Answering(_) | Self::TakingOut(_) => 0,
        }
    }

    /// Number of requests that were not delivered yet, or whose senders are still to be told that they fail.
    pub fn undelivered(&self) -> usize {
        match self {
            Self::FanOut(fan_out) => fan_out.undelivered(),
            Self::Failing(failing) => failing.unanswered.len(),
            Self::Count(_) | Self::Held(_) | Self::LettingGo(_) | Self::Answering(_) | Self::TakingOut(_) => 0,
        }
    }
}

/// A request to every session that a filter matches.
#[derive(Debug)]
pub(super) struct FanOut {
    pub asker: Asker,
    pub reply_to: ReplyTo,
    /// What every recipient gets: a `SendToPath`, in wire form.
    pub body: Vec<u8>,
    /// What goes along with it.
    pub headers: HeaderBlock,
    /// How long each has to answer, if the sender does not say less.
    pub timeout: Duration,
    pub stage: Stage,
}

impl FanOut {
    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.headers.len() + self.body.len()
    }

    /// How many are still to be asked, as far as is known.
    pub fn undelivered(&self) -> usize {
        match &self.stage {
            Stage::Looking(_) => 1,
            Stage::Delivering(recipients) => recipients.len(),
        }
    }
}

/// How far a request to a filter has come.
#[derive(Debug)]
pub(super) enum Stage {
    Looking(Search),
    /// The number of recipients is told; these are left.
    Delivering(vec::IntoIter<SessionKey>),
}

/// A question for the number of sessions that a filter matches.
#[derive(Debug)]
pub(super) struct Count {
    pub asker: Asker,
    pub search: Search,
}

/// A request to the broker that waits for its turn.
#[derive(Debug)]
pub(super) struct HeldRequest {
    pub service: u32,
    pub conversation: ConversationId,
    /// Until when its sender waits, if it said so.
    pub due: Option<Moment>,
    pub headers: HeaderBlock,
    pub body: Box<[u8]>,
}

impl HeldRequest {
    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.headers.len() + self.body.len()
    }

    /// When its sender is told that no answer came, if it said how long it waits for one.
    pub fn deadline(&self) -> Option<Moment> {
        self.due.filter(|_| SENDING.contains(&self.service))
    }
}

/// The services that ask other sessions.
const SENDING: [u32; 3] = [MessagingSend::ID, MessagingReceiverServer::ID, MessagingFilterSender::ID];
