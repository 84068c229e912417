//! The attacks: what one client does at its worst, each within the limits of the protocol.

use super::target::{Attack, Done};
use super::{messages, sockets};

/// All of them, by name.
pub const ATTACKS: &[(&str, Attack)] = &[
    ("nothing", |target| {
        std::thread::sleep(target.left());
        Ok(Done::default())
    }),
    ("pings", messages::pings),
    ("requests", messages::requests),
    ("deep-paths", messages::deep_paths),
    ("cheap-filters", messages::cheap_filters),
    ("wide-filters", messages::wide_filters),
    ("costly-patterns", messages::costly_patterns),
    ("large-patterns", messages::large_patterns),
    ("long-values", messages::long_values),
    ("everybody", messages::everybody),
    ("registrations", messages::registrations),
    ("many-registrations", messages::many_registrations),
    ("outstanding", messages::outstanding),
    ("properties", messages::properties),
    ("many-properties", messages::many_properties),
    ("empty-keys", messages::empty_keys),
    ("long-type", messages::long_type),
    ("largest-values", messages::largest_values),
    ("leaving", messages::leaving),
    ("sessions", messages::sessions),
    ("lost-handlers", messages::lost_handlers),
    ("crowd", sockets::crowd),
    ("stopped", sockets::stopped),
    ("slow", sockets::slow),
    ("unread-pongs", sockets::unread_pongs),
    ("unread-answers", sockets::unread_answers),
    ("flood", sockets::flood),
    ("unread-everybody", sockets::unread_everybody),
    ("large", sockets::large),
    ("unfinished", sockets::unfinished),
    ("declared", sockets::declared),
    ("strangers", sockets::strangers),
    ("pages", sockets::pages),
    ("drippers", sockets::drippers),
];
