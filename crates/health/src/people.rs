//! The users of an account: when each was seen, and what was said of him.

use event::{Event, Properties};
use xxhash_rust::xxh3::xxh3_64;

use crate::names::Names;

/// Roles in the order of their saved numbers; 0 is none.
const ROLES: [&str; 5] = ["", "champion", "decision_maker", "admin", "member"];

/// A user's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) enum Role {
    Champion = 1,
    DecisionMaker = 2,
}

/// When a user was seen, milliseconds; 0 stands for never.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Seen {
    /// First event that named him.
    #[prost(sint64, tag = "1")]
    pub(crate) first_at: i64,
    #[prost(sint64, tag = "2")]
    pub(crate) last_login_at: i64,
    /// First login or feature use.
    #[prost(sint64, tag = "3")]
    pub(crate) first_active_at: i64,
    #[prost(sint64, tag = "4")]
    pub(crate) last_active_at: i64,
}

/// What `user` events said of a user; the newest statement of each part holds.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Said {
    /// Index of the user.
    #[prost(uint32, tag = "1")]
    pub(crate) user: u32,
    /// Place in the list of roles.
    #[prost(uint32, tag = "2")]
    role: u32,
    #[prost(message, required, tag = "3")]
    role_when: When,
    #[prost(bool, tag = "4")]
    pub(crate) is_removed: bool,
    #[prost(message, required, tag = "5")]
    removed_when: When,
    /// One more than the index of the department; 0 is none.
    #[prost(uint32, tag = "6")]
    department: u32,
    #[prost(message, required, tag = "7")]
    department_when: When,
}

/// When a statement was made; of two at the same instant, the event's id decides. 0 stands for never.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
struct When {
    #[prost(sint64, tag = "1")]
    at: i64,
    #[prost(fixed32, tag = "2")]
    tie: u32,
}

/// Everyone who has been named as a user of an account.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct People {
    #[prost(message, required, tag = "1")]
    names: Names,
    /// At the index that `names` gives.
    #[prost(message, repeated, tag = "2")]
    pub(crate) seen: Vec<Seen>,
    /// Of those of whom something was said, by the user's index, ascending.
    #[prost(message, repeated, tag = "3")]
    pub(crate) said: Vec<Said>,
    #[prost(message, optional, boxed, tag = "4")]
    departments: Option<Box<Names>>,
}

impl People {
    /// The index of a user, who is seen at `at`.
    pub(crate) fn see(&mut self, user_id: &str, at: i64) -> u32 {
        let index = self.names.index(user_id);
        if index as usize == self.seen.len() {
            self.seen.push(Seen::default());
        }
        earliest(&mut self.seen[index as usize].first_at, at);
        index
    }

    pub(crate) fn find(&self, user_id: &str) -> Option<u32> {
        self.names.find(user_id)
    }

    pub(crate) fn name(&self, user: u32) -> &str {
        self.names.name(user)
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    pub(crate) fn logged_in(&mut self, user: u32, at: i64) {
        latest(&mut self.seen[user as usize].last_login_at, at);
    }

    pub(crate) fn was_active(&mut self, user: u32, at: i64) {
        let seen = &mut self.seen[user as usize];
        earliest(&mut seen.first_active_at, at);
        latest(&mut seen.last_active_at, at);
    }

    /// Folds a `user` event.
    pub(crate) fn told(&mut self, user: u32, event_id: &str, properties: &Properties<'_>, at: i64) {
        let role = properties.str("role");
        let role = role.and_then(|role| ROLES.iter().position(|known| *known == role));
        let removed = properties.bool("removed");
        let department = properties.str("department");
        if role.is_none() && removed.is_none() && department.is_none() {
            return;
        }
        let place = match self.said.binary_search_by_key(&user, |said| said.user) {
            Ok(place) => place,
            Err(place) => {
                let said = Said {
                    user,
                    ..Said::default()
                };
                self.said.insert(place, said);
                place
            }
        };
        let said = &mut self.said[place];
        let when = When {
            at,
            tie: (xxh3_64(event_id.as_bytes()) >> 32) as u32,
        };
        if let Some(role) = role
            && when >= said.role_when
        {
            said.role = role as u32;
            said.role_when = when;
        }
        if let Some(removed) = removed
            && when >= said.removed_when
        {
            said.is_removed = removed;
            said.removed_when = when;
        }
        if let Some(department) = department
            && when >= said.department_when
        {
            said.department = self.departments.get_or_insert_default().index(&department) + 1;
            said.department_when = when;
        }
    }

    /// What was said of a user.
    pub(crate) fn said(&self, user: u32) -> Option<&Said> {
        let place = self.said.binary_search_by_key(&user, |said| said.user).ok()?;
        self.said.get(place)
    }

    /// The department of a user; empty when it was not told.
    pub(crate) fn department(&self, user: u32) -> &str {
        match self.said(user) {
            Some(said) if said.department > 0 => match &self.departments {
                Some(departments) => departments.name(said.department - 1),
                None => "",
            },
            _ => "",
        }
    }

    /// How many departments are known.
    fn departments(&self) -> usize {
        self.departments
            .as_ref()
            .map_or(0, |departments| departments.len())
    }

    /// When each department was first active, by its index; 0 stands for never.
    pub(crate) fn departments_first_active(&self) -> Vec<i64> {
        let mut first = vec![0; self.departments()];
        for said in self.said.iter().filter(|said| said.department > 0) {
            let active_at = self.seen[said.user as usize].first_active_at;
            if active_at != 0 {
                earliest(&mut first[said.department as usize - 1], active_at);
            }
        }
        first
    }

    /// Whether a second user has been active.
    pub(crate) fn has_second_member(&self) -> bool {
        self.seen
            .iter()
            .filter(|seen| seen.first_active_at != 0)
            .nth(1)
            .is_some()
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.names.shrink_to_fit();
        if let Some(departments) = &mut self.departments {
            departments.shrink_to_fit();
        }
        self.seen.shrink_to_fit();
        self.said.shrink_to_fit();
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.names.heap_bytes()
            + self
                .departments
                .as_ref()
                .map_or(0, |departments| size_of::<Names>() + departments.heap_bytes())
            + self.seen.capacity() * std::mem::size_of::<Seen>()
            + self.said.capacity() * std::mem::size_of::<Said>()
    }

    /// Whether the parts agree, which a state that was read must prove.
    pub(crate) fn is_sound(&self) -> bool {
        let in_bounds = |said: &Said| {
            (said.user as usize) < self.seen.len()
                && (said.role as usize) < ROLES.len()
                && said.department as usize <= self.departments()
                && [said.role_when, said.removed_when, said.department_when]
                    .iter()
                    .all(|when| Event::TIMES.contains(&when.at))
        };
        let can_be = |seen: &Seen| {
            [
                seen.first_at,
                seen.last_login_at,
                seen.first_active_at,
                seen.last_active_at,
            ]
            .iter()
            .all(|at| Event::TIMES.contains(at))
        };
        self.names.is_sound()
            && self
                .departments
                .as_ref()
                .is_none_or(|departments| departments.is_sound())
            && self.names.len() == self.seen.len()
            && self.seen.iter().all(can_be)
            && self.said.is_sorted_by(|one, other| one.user < other.user)
            && self.said.iter().all(in_bounds)
    }
}

impl Said {
    /// The role's name; empty when none was told.
    pub(crate) fn role(&self) -> &'static str {
        ROLES.get(self.role as usize).copied().unwrap_or_default()
    }

    pub(crate) fn is(&self, role: Role) -> bool {
        self.role == role as u32
    }

    /// When it was said whether he is removed.
    pub(crate) fn removed_at(&self) -> i64 {
        self.removed_when.at
    }
}

fn earliest(slot: &mut i64, at: i64) {
    if *slot == 0 || at < *slot {
        *slot = at;
    }
}

fn latest(slot: &mut i64, at: i64) {
    if *slot == 0 || at > *slot {
        *slot = at;
    }
}
