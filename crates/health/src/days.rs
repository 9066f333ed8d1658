//! What an account did, by its own local days.
//!
//! What holds: only days with an event are kept, and only [`KEPT_DAYS`] back from the newest, so that
//! an event that is at most 90 days late finds its day. Who was active and which features were used is
//! kept for [`DETAILED_DAYS`], which the widest window that asks for it needs; older days keep their
//! counts alone. Most days rest in one packed run of bytes; those touched last lie open.

use prost::bytes::{Buf, BufMut};
use prost::encoding::{decode_varint, encode_varint};

/// Days that are kept, the newest included: 90 for the widest window, and one more on either side so
/// that an evaluation just past midnight finds its first day whole.
pub const KEPT_DAYS: i32 = 92;

/// Days of which users and features are known: twice 28 and one more on either side.
pub const DETAILED_DAYS: i32 = 58;

/// Bits of a packed list's entry that hold the uses, and the value that says that they follow.
const USES_BITS: u32 = 4;
const MANY_USES: u64 = (1 << USES_BITS) - 1;

/// Days that lie open at most.
const OPEN_DAYS: usize = 4;

/// One local day of an account.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Day {
    /// Days since 1970-01-01 in the account's time zone.
    pub(crate) number: i32,
    pub(crate) counts: Counts,
    /// Sum of the CSAT scores.
    pub(crate) csat_sum: f64,
    /// Uses of all features.
    pub(crate) uses: u64,
    /// Users with a login or a feature use, by their index in the account, ascending, and their uses.
    pub(crate) users: Vec<(u32, u64)>,
    /// Features used, by their index in the account, ascending, and their uses.
    pub(crate) features: Vec<(u32, u64)>,
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident,)+) => {
        /// What is only counted of a day.
        #[derive(Debug, Clone, Copy, PartialEq, Default)]
        pub(crate) struct Counts { $($(#[doc = $doc])* pub(crate) $name: u32,)+ }

        impl Counts {
            fn values(&self) -> [u32; COUNTS] {
                [$(self.$name,)+]
            }

            fn of([$($name,)+]: [u32; COUNTS]) -> Counts {
                Counts { $($name,)+ }
            }
        }
    };
}

const COUNTS: usize = 13;

counts! {
    /// Events of any type.
    events,
    logins,
    /// Logins and feature uses, with or without a user.
    activities,
    errors,
    engagements,
    empty_searches,
    tickets_opened,
    escalations,
    /// Downgrades and options removed.
    downgrades,
    promoters,
    detractors,
    /// NPS responses of any score.
    nps_responses,
    csat_responses,
}

impl Day {
    /// Marks a user as active, with so many uses of features.
    pub(crate) fn add_user(&mut self, user: u32, uses: u64) {
        add(&mut self.users, user, uses);
    }

    /// Counts uses of a feature.
    pub(crate) fn add_uses(&mut self, feature: u32, uses: u64) {
        add(&mut self.features, feature, uses);
        self.uses = self.uses.saturating_add(uses);
    }

    fn clear(&mut self, number: i32) {
        self.number = number;
        self.counts = Counts::default();
        self.csat_sum = 0.0;
        self.uses = 0;
        self.users.clear();
        self.features.clear();
    }

    fn thin(&mut self) {
        self.users = Vec::new();
        self.features = Vec::new();
    }

    /// A day's bytes behind its number and their length: which counts are not 0, those counts, and
    /// the lists.
    fn pack(&self, bytes: &mut Vec<u8>) {
        let counts = self.counts.values();
        let mut present: u64 = 0;
        for (place, count) in counts.iter().enumerate() {
            present |= u64::from(*count > 0) << place;
        }
        encode_varint(present, bytes);
        for count in counts.iter().filter(|count| **count > 0) {
            encode_varint(u64::from(*count), bytes);
        }
        if self.counts.csat_responses > 0 {
            bytes.put_f64_le(self.csat_sum);
        }
        encode_varint(self.uses, bytes);
        for list in [&self.users, &self.features] {
            encode_varint(list.len() as u64, bytes);
            let mut previous = 0;
            for (index, uses) in list {
                // Few uses share a byte with the step to the next index.
                let step = u64::from(index - previous) << USES_BITS;
                encode_varint(step | (*uses).min(MANY_USES), bytes);
                if *uses >= MANY_USES {
                    encode_varint(*uses, bytes);
                }
                previous = *index;
            }
        }
    }

    /// Reads what [`Day::pack`] wrote; `None` when the bytes are no day.
    fn unpack(&mut self, number: i32, mut bytes: &[u8]) -> Option<()> {
        self.clear(number);
        let present = decode_varint(&mut bytes).ok()?;
        let mut counts = [0; COUNTS];
        for (place, count) in counts.iter_mut().enumerate() {
            if present >> place & 1 == 1 {
                *count = u32::try_from(decode_varint(&mut bytes).ok()?).ok()?;
            }
        }
        self.counts = Counts::of(counts);
        if self.counts.csat_responses > 0 {
            if bytes.remaining() < 8 {
                return None;
            }
            self.csat_sum = bytes.get_f64_le();
        }
        self.uses = decode_varint(&mut bytes).ok()?;
        for list in [&mut self.users, &mut self.features] {
            let length = decode_varint(&mut bytes).ok()?;
            let mut previous: u32 = 0;
            for _ in 0..length {
                let both = decode_varint(&mut bytes).ok()?;
                let step = u32::try_from(both >> USES_BITS).ok()?;
                previous = previous.checked_add(step)?;
                let mut uses = both & MANY_USES;
                if uses == MANY_USES {
                    uses = decode_varint(&mut bytes).ok()?;
                }
                list.push((previous, uses));
            }
        }
        bytes.is_empty().then_some(())
    }
}

fn add(list: &mut Vec<(u32, u64)>, index: u32, uses: u64) {
    match list.binary_search_by_key(&index, |(index, _)| *index) {
        Ok(place) => list[place].1 = list[place].1.saturating_add(uses),
        Err(place) => list.insert(place, (index, uses)),
    }
}

/// The kept days of an account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Days {
    newest: Option<i32>,
    /// The days touched last, the last touched behind.
    open: Vec<Day>,
    /// The others in ascending order: each its number (two bytes), the length of its bytes, its bytes.
    packed: Vec<u8>,
}

impl Days {
    /// The day of that number, made when it is missing; `None` when it lies too far back to be kept.
    pub(crate) fn day_mut(&mut self, number: i32) -> Option<&mut Day> {
        if self.open.last().is_some_and(|day| day.number == number) {
            return self.open.last_mut();
        }
        let newest = self.newest.unwrap_or(number);
        // Two bytes hold the days of 1970 to 2149.
        if number <= newest.saturating_sub(KEPT_DAYS) || u16::try_from(number).is_err() {
            return None;
        }
        let day = match self.open.iter().position(|day| day.number == number) {
            Some(place) => self.open.remove(place),
            None => self.take_packed(number).unwrap_or_else(|| Day {
                number,
                ..Day::default()
            }),
        };
        if self.open.len() >= OPEN_DAYS {
            let longest_untouched = self.open.remove(0);
            self.put_packed(longest_untouched);
        }
        self.open.push(day);
        if self.newest.is_none_or(|newest| number > newest) {
            self.newest = Some(number);
            self.let_go(number);
        }
        self.open.last_mut()
    }

    /// Whether users and features of a day of that number are kept.
    pub(crate) fn is_detailed(&self, number: i32) -> bool {
        self.newest
            .is_some_and(|newest| number > newest.saturating_sub(DETAILED_DAYS))
    }

    /// The newest day with an event.
    pub(crate) fn newest(&self) -> Option<i32> {
        self.newest
    }

    /// A copy of a kept day.
    pub(crate) fn get(&self, number: i32) -> Option<Day> {
        let mut found = None;
        self.visit(number, number, |day| found = Some(day.clone()));
        found
    }

    /// Shows every kept day from `first` to `last`, both included, in no order.
    pub(crate) fn visit(&self, first: i32, last: i32, mut show: impl FnMut(&Day)) {
        let mut scratch = Day::default();
        for entry in entries(&self.packed) {
            if entry.number > last {
                break;
            }
            if entry.number >= first && scratch.unpack(entry.number, &self.packed[entry.body]).is_some() {
                show(&scratch);
            }
        }
        for day in &self.open {
            if first <= day.number && day.number <= last {
                show(day);
            }
        }
    }

    /// Packs every day and gives memory back.
    pub(crate) fn settle(&mut self) {
        for day in std::mem::take(&mut self.open) {
            self.put_packed(day);
        }
        self.packed.shrink_to_fit();
    }

    /// The bytes to save; [`Days::settle`] must have been called.
    pub(crate) fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The days of saved bytes, if they are sound: ascending, and no index beyond the users and
    /// features that there are.
    pub(crate) fn read(packed: Vec<u8>, users: usize, features: usize) -> Option<Days> {
        let mut scratch = Day::default();
        let mut newest = None;
        let mut length = 0;
        let known = |list: &[(u32, u64)], count: usize| {
            list.last().is_none_or(|(index, _)| (*index as usize) < count)
        };
        for entry in entries(&packed) {
            if newest.is_some_and(|newest| entry.number <= newest) {
                return None;
            }
            newest = Some(entry.number);
            length = entry.body.end;
            scratch.unpack(entry.number, packed.get(entry.body)?)?;
            if !scratch.csat_sum.is_finite() {
                return None;
            }
            if !known(&scratch.users, users) || !known(&scratch.features, features) {
                return None;
            }
        }
        (length == packed.len()).then_some(Days {
            newest,
            open: Vec::new(),
            packed,
        })
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let pair = std::mem::size_of::<(u32, u64)>();
        let lists = self
            .open
            .iter()
            .map(|day| day.users.capacity() + day.features.capacity());
        self.packed.capacity()
            + self.open.capacity() * std::mem::size_of::<Day>()
            + lists.sum::<usize>() * pair
    }

    fn take_packed(&mut self, number: i32) -> Option<Day> {
        let entry = entries(&self.packed).find(|entry| entry.number == number)?;
        let mut day = Day::default();
        day.unpack(number, &self.packed[entry.body.clone()])?;
        self.packed.drain(entry.begin..entry.body.end);
        Some(day)
    }

    fn put_packed(&mut self, mut day: Day) {
        if !self.is_detailed(day.number) {
            day.thin();
        }
        let mut body = Vec::with_capacity(64);
        day.pack(&mut body);
        let mut bytes = Vec::with_capacity(body.len() + 4);
        bytes.put_u16_le(day.number as u16);
        encode_varint(body.len() as u64, &mut bytes);
        bytes.append(&mut body);
        let begin = entries(&self.packed)
            .find(|entry| entry.number > day.number)
            .map_or(self.packed.len(), |entry| entry.begin);
        self.packed.splice(begin..begin, bytes);
    }

    /// Forgets what the newest day has left too far behind.
    fn let_go(&mut self, newest: i32) {
        let kept_from = newest.saturating_sub(KEPT_DAYS);
        let detailed_from = newest.saturating_sub(DETAILED_DAYS);
        self.open.retain(|day| day.number > kept_from);
        let mut old: Vec<Day> = Vec::new();
        let mut gone = 0;
        for entry in entries(&self.packed) {
            if entry.number > detailed_from {
                break;
            }
            gone = entry.body.end;
            let mut day = Day::default();
            if entry.number > kept_from && day.unpack(entry.number, &self.packed[entry.body]).is_some() {
                old.push(day);
            }
        }
        // Days that are thin already are put back as they were; there are few, once a day.
        self.packed.drain(..gone);
        for day in old.into_iter().rev() {
            self.put_packed(day);
        }
    }
}

impl PartialEq for Days {
    /// The same days, whichever of them lie open.
    fn eq(&self, other: &Days) -> bool {
        let settled = |days: &Days| {
            let mut days = days.clone();
            days.settle();
            days.packed
        };
        self.newest == other.newest && settled(self) == settled(other)
    }
}

/// Where a packed day lies.
struct Entry {
    number: i32,
    begin: usize,
    body: std::ops::Range<usize>,
}

/// The packed days; ends before the first that does not fit the bytes.
fn entries(packed: &[u8]) -> impl Iterator<Item = Entry> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let begin = at;
        let mut rest = packed.get(begin..)?;
        if rest.len() < 3 {
            return None;
        }
        let number = i32::from(rest.get_u16_le());
        let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        if rest.len() < length {
            return None;
        }
        let body_begin = packed.len() - rest.len();
        at = body_begin + length;
        Some(Entry {
            number,
            begin,
            body: body_begin..at,
        })
    })
}

#[cfg(test)]
#[path = "days_tests.rs"]
mod tests;
