//! The permissions that there are, by name, and sets of them.

use std::marker::PhantomData;

/// A permission of one kind: global, or for a path.
pub trait Permission: Copy + 'static {
    /// All of its kind.
    const ALL: &'static [Self];

    /// Its name in configurations and refusals.
    fn name(self) -> &'static str;

    /// The one of this name.
    #[must_use]
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.name() == name)
    }

    /// Its place in a set.
    fn bit(self) -> u16;
}

macro_rules! permissions {
    ($(#[$meta:meta])* $kind:ident: $($variant:ident $name:literal,)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {
            $(#[doc = $name] $variant,)*
        }

        impl Permission for $kind {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            fn bit(self) -> u16 {
                1 << self as u16
            }
        }
    };
}

permissions! {
    /// A permission that holds everywhere or nowhere (rules 6.1).
    GlobalPermission:
    Authenticate "AUTHENTICATE",
    ViewSession "VIEW_SESSION",
    ModifySession "MODIFY_SESSION",
    RegisterHandler "REGISTER_HANDLER",
    ViewServer "VIEW_SERVER",
    ControlServer "CONTROL_SERVER",
    ViewSecurity "VIEW_SECURITY",
    ModifySecurity "MODIFY_SECURITY",
    ReadTopicViews "READ_TOPIC_VIEWS",
    ModifyTopicViews "MODIFY_TOPIC_VIEWS",
}

permissions! {
    /// A permission for a path (rules 6.1).
    PathPermission:
    ReadTopic "READ_TOPIC",
    UpdateTopic "UPDATE_TOPIC",
    ModifyTopic "MODIFY_TOPIC",
    SelectTopic "SELECT_TOPIC",
    SendToMessageHandler "SEND_TO_MESSAGE_HANDLER",
    SendToSession "SEND_TO_SESSION",
    AcquireLock "ACQUIRE_LOCK",
    ExposeBranch "EXPOSE_BRANCH",
    QueryObsoleteTimeSeriesEvents "QUERY_OBSOLETE_TIME_SERIES_EVENTS",
    EditTimeSeriesEvents "EDIT_TIME_SERIES_EVENTS",
    EditOwnTimeSeriesEvents "EDIT_OWN_TIME_SERIES_EVENTS",
}

/// A set of permissions of one kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Set<P> {
    bits: u16,
    kind: PhantomData<P>,
}

impl<P: Permission> Set<P> {
    pub const NONE: Self = Self { bits: 0, kind: PhantomData };

    pub fn has(self, permission: P) -> bool {
        self.bits & permission.bit() != 0
    }

    /// What is in one of the two, or in both.
    pub fn union(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits, ..self }
    }
}

impl<P: Permission> FromIterator<P> for Set<P> {
    fn from_iter<I: IntoIterator<Item = P>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::NONE, |set, permission| Self { bits: set.bits | permission.bit(), ..set })
    }
}

impl<P: Permission> std::fmt::Debug for Set<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = P::ALL.iter().filter(|permission| self.has(**permission)).map(|permission| permission.name());
        f.debug_set().entries(names).finish()
    }
}
