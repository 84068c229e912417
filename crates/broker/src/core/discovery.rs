//! Looking before one asks: how many sessions a filter matches, which handlers there are for a path, and being told when
//! these change.
//!
//! Source: section 18.13.

use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::request_frame;
use antiphon_protocol::wire::layouts::{
    CountSessions, FilterOutcome, FindHandlers, FoundHandlers, HandlersNow, WatchHandlers,
};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{
    HandlerSearch, HandlerUnwatch, HandlerWatch, HandlersChanged, Service, SessionCount,
};

use super::fan_out::report;
use super::filter::Filter;
use super::gate::Action;
use super::path::NormalPath;
use super::per_session::SessionKey;
use super::refusal::Refusal;
use super::routing::no_room;
use super::search::Search;
use super::serve::{Answer, Asker, not_offered};
use super::sessions::Session;
use super::tasks::Count;
use super::watches::{Found, Watch};
use super::{Broker, cost};

impl Broker {
    /// Whether a session has the services of this part.
    pub(super) fn check_discovery<S: Service>(&self, session: SessionKey) -> Result<(), Refusal> {
        if self.can_discover(session) { Ok(()) } else { Err(not_offered(S::ID)) }
    }

    fn can_discover(&self, session: SessionKey) -> bool {
        let connection = self.sessions.get(session).and_then(Session::connection);
        connection.is_some_and(|connection| connection.negotiated.features.has(Features::DISCOVERY))
    }

    /// Tells how many sessions a filter matches, as a request to it would be (rules M-9).
    pub(super) fn count_sessions(&mut self, asker: Asker, request: &CountSessions<'_>) -> Result<Answer, Refusal> {
        self.admit_without_path(asker.session, Action::CountSessions)?;
        self.check_memory()?;
        let before = self.work;
        let (filter, work) = Filter::parse_counted(request.filter);
        self.spend(work);
        let filter = match filter {
            Ok(filter) => filter,
            Err(fault) => return Ok(report::<SessionCount>(asker, &fault)),
        };
        let search = Search::new(&self.sessions, filter);
        self.spend(search.cost());
        let count = Box::new(Count { asker, search });
        // To read it may have taken as long as others can wait.
        match self.sessions.party_of(asker.session) {
            Some(party) if self.work - before > cost::TURN / 2 => self.turns.count(party, asker.session, count),
            _ => self.go_on_counting(count)?,
        }
        Ok(Answer::Later)
    }

    /// Looks at some more sessions; at the rest when others were served.
    pub(super) fn go_on_counting(&mut self, mut count: Box<Count>) -> Result<(), Refusal> {
        let asker = count.asker;
        let Some(party) = self.sessions.party_of(asker.session) else { return Ok(()) };
        if !self.look_further(&mut count.search)? {
            self.turns.count(party, asker.session, count);
            return Ok(());
        }
        let matching = u32::try_from(count.search.take_matching().len()).unwrap_or(u32::MAX);
        self.send_answer(asker, asker.answer::<SessionCount>(&FilterOutcome::Matched(matching)));
        Ok(())
    }

    /// Tells which handlers a request to a path would go to. Who may send there may know.
    pub(super) fn find_handlers(&mut self, asker: Asker, request: &FindHandlers<'_>) -> Result<Answer, Refusal> {
        let path = self.admit(asker.session, Action::FindHandlers, request.path)?;
        let found = self.handlers_for(path);
        Ok(asker.answer::<HandlerSearch>(&as_wire(&found)))
    }

    /// The same; and from now on the session is told when that changes.
    pub(super) fn watch_handlers(&mut self, asker: Asker, request: &WatchHandlers<'_>) -> Result<Answer, Refusal> {
        let path = self.admit(asker.session, Action::FindHandlers, request.path)?;
        self.check_memory()?;
        // Who asks again on another connection has no more than before.
        self.watches.remove(asker.session, request.watch);
        let watches = self.watches.count(asker.session);
        if watches >= self.config.max_watches {
            return Err(no_room(format!("this session watches {watches} paths, no more are allowed")));
        }
        let found = self.handlers_for(path);
        self.watches.add(asker.session, request.watch, path, found.clone());
        self.registry.keep_changes(true);
        Ok(asker.answer::<HandlerWatch>(&as_wire(&found)))
    }

    /// A watch that is not there is no error: the client wants it gone, and it is.
    pub(super) fn unwatch_handlers(&mut self, asker: Asker, watch: ConversationId) -> Answer {
        self.watches.remove(asker.session, watch);
        self.registry.keep_changes(!self.watches.is_empty());
        asker.answer::<HandlerUnwatch>(&())
    }

    /// A session is over, or its past is forgotten.
    pub(super) fn forget_watches(&mut self, session: SessionKey) {
        let watches = self.watches.remove_all(session);
        self.spend(watches * cost::REGISTRATION);
        self.registry.keep_changes(!self.watches.is_empty());
    }

    fn handlers_for(&mut self, path: NormalPath<'_>) -> Found {
        self.spend(path.as_str().len() / 4);
        self.registry.find(path).map(|(at, handlers)| (at.clone(), handlers))
    }

    /// When somebody is to be told of a change.
    pub(super) fn next_notice(&self) -> Option<Moment> {
        self.watches.next_due(self.registry.has_changes())
    }

    /// Tells those who watch what has changed, for as long as others can wait.
    pub(super) fn tell_watchers(&mut self, now: Moment) {
        if self.watches.may_begin(now) {
            self.watches.begin(now, self.registry.take_changes());
        }
        let before = self.work;
        while self.work - before < cost::TURN
            && let Some(watch) = self.watches.next(now)
        {
            self.tell_watcher(&watch);
        }
    }

    /// Tells a session what it watches, if that is not what it knows. One that has no connection is told when it has one again:
    /// what changes meanwhile is not to wait for it.
    fn tell_watcher(&mut self, watch: &Watch) {
        let (path, session, number) = watch;
        self.spend(cost::REQUEST);
        if !self.can_discover(*session) {
            return;
        }
        let path = NormalPath::of_registered(path);
        // For who may not send there any more, there is nobody.
        let found = if self.may(*session, Action::FindHandlers, path) { self.handlers_for(path) } else { None };
        if self.watches.tell(watch, &found) {
            let notice = HandlersNow { watch: *number, found: as_wire(&found) };
            self.send_to(*session, request_frame::<HandlersChanged>(ConversationId::ONE_WAY, &notice, 0));
        }
    }
}

fn as_wire(found: &Found) -> Option<FoundHandlers<'_>> {
    let (path, handlers) = found.as_ref()?;
    Some(FoundHandlers { path, handlers: u32::try_from(*handlers).unwrap_or(u32::MAX) })
}
