//! Names of an account's users or features, each with a small index by which the days speak of it.
//! An index never changes.

/// Names in the order in which they came, found in O(log n).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Names {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
    /// Indices into `names` in the order of the names.
    #[prost(uint32, repeated, tag = "2")]
    sorted: Vec<u32>,
}

impl Names {
    /// The index of `name`, which is added when it is new.
    pub(crate) fn index(&mut self, name: &str) -> u32 {
        match self.place(name) {
            Ok(place) => self.sorted[place],
            Err(place) => {
                let index = self.names.len() as u32;
                self.names.push(name.to_string());
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
        &self.names[index as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.sorted
            .binary_search_by(|index| self.names[*index as usize].as_str().cmp(name))
    }

    /// Whether `sorted` names each name once and in order, which a state that was read must prove.
    pub(crate) fn is_sound(&self) -> bool {
        self.sorted.len() == self.names.len()
            && self
                .sorted
                .iter()
                .all(|index| (*index as usize) < self.names.len())
            && self
                .sorted
                .is_sorted_by(|one, other| self.names[*one as usize] < self.names[*other as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_stays_with_its_name() {
        let mut names = Names::default();
        let given: Vec<u32> = ["m", "a", "z", "a", "m"]
            .iter()
            .map(|name| names.index(name))
            .collect();
        assert_eq!(given, [0, 1, 2, 1, 0]);
        assert_eq!(names.find("z"), Some(2));
        assert_eq!(names.find("q"), None);
        assert_eq!(names.name(1), "a");
        assert!(names.is_sound());
    }
}
