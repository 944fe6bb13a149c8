//! Choices by chance: the same seed makes the same choices.

pub(super) struct Random(fastrand::Rng);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(fastrand::Rng::with_seed(seed))
    }

    /// A number from 0 up to, not including, `limit`; 0 if that is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0.u64(..limit.max(1))
    }

    /// True this often in a hundred.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several; there must be one.
    pub(super) fn one_of<T: Clone>(&mut self, items: &[T]) -> T {
        self.0.choice(items).expect("there is one").clone()
    }

    /// One of several words with a space between them.
    pub(super) fn word<'w>(&mut self, words: &'w str) -> &'w str {
        self.0.choice(words.split(' ').collect::<Vec<_>>()).expect("there is one")
    }

    /// One of the items of a table, each as often as its weight says.
    pub(super) fn weighted<T: Copy>(&mut self, table: impl Iterator<Item = (u64, T)> + Clone) -> T {
        let mut left = self.below(table.clone().map(|(weight, _)| weight).sum());
        for (weight, item) in table {
            if left < weight {
                return item;
            }
            left -= weight;
        }
        unreachable!("the weights add up")
    }
}
