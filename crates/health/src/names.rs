//! Names of an account's users, features or milestones, each with a small index by which the rest of
//! the state speaks of it. An index never changes.

/// Names in the order in which they came, one behind the other in one text, found in O(log n).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Names {
    #[prost(string, tag = "3")]
    text: String,
    /// Where each name ends in `text`.
    #[prost(uint32, repeated, tag = "4")]
    ends: Vec<u32>,
    /// Indices in the order of the names.
    #[prost(uint32, repeated, tag = "5")]
    sorted: Vec<u32>,
}

impl Names {
    /// The index of `name`, which is added when it is new.
    pub(crate) fn index(&mut self, name: &str) -> u32 {
        match self.place(name) {
            Ok(place) => self.sorted[place],
            Err(place) => {
                let index = self.ends.len() as u32;
                self.text.push_str(name);
                self.ends.push(self.text.len() as u32);
                self.sorted.insert(place, index);
                index
            }
        }
    }

    /// The index of `name`, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.place(name).ok().map(|place| self.sorted[place])
    }

    /// The name at an index that [`Names::index`] gave.
    pub(crate) fn name(&self, index: u32) -> &str {
        let index = index as usize;
        let begin = match index {
            0 => 0,
            _ => self.ends[index - 1] as usize,
        };
        &self.text[begin..self.ends[index] as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.sorted.shrink_to_fit();
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.text.capacity() + 4 * (self.ends.capacity() + self.sorted.capacity())
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|index| self.name(*index).cmp(name))
    }

    /// Whether every index names a part of the text and `sorted` names each name once and in order,
    /// which a state that was read must prove.
    pub(crate) fn is_sound(&self) -> bool {
        let last = self.ends.last().map_or(0, |end| *end as usize);
        let cuts = self
            .ends
            .iter()
            .all(|end| self.text.is_char_boundary(*end as usize));
        last == self.text.len()
            && cuts
            && self.ends.is_sorted()
            && self.sorted.len() == self.ends.len()
            && self
                .sorted
                .iter()
                .all(|index| (*index as usize) < self.ends.len())
            && self
                .sorted
                .is_sorted_by(|one, other| self.name(*one) < self.name(*other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_stays_with_its_name() {
        let mut names = Names::default();
        let given: Vec<u32> = ["m", "a", "zebra", "a", "m", ""]
            .iter()
            .map(|name| names.index(name))
            .collect();
        assert_eq!(given, [0, 1, 2, 1, 0, 3]);
        assert_eq!(names.find("zebra"), Some(2));
        assert_eq!(names.find("q"), None);
        assert_eq!((names.name(1), names.name(2), names.name(3)), ("a", "zebra", ""));
        assert!(names.is_sound());
    }

    #[test]
    fn names_that_do_not_fit_their_text_are_unsound() {
        let mut names = Names::default();
        names.index("東京");
        names.ends[0] = 2;
        assert!(!names.is_sound());
        names.ends[0] = 99;
        assert!(!names.is_sound());
    }
}
