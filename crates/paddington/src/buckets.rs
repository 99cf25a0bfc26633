//! The buckets of a service's clients, and the choice of one for a new client. The reasons are in
//! `docs/decisions/0017-buckets-of-clients.md`.

use std::collections::{BTreeSet, HashMap};

use paddington_crypto::KeyError;
use paddington_wire::Bucket;

/// How many clients each bucket has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buckets {
    clients: HashMap<Bucket, usize>,
    /// The buckets that are not full, by the number of their clients.
    open: BTreeSet<(usize, Bucket)>,
}

impl Buckets {
    /// Counts a client.
    pub(crate) fn add(&mut self, bucket: Bucket) {
        let clients = self.clients.entry(bucket).or_default();
        self.open.remove(&(*clients, bucket));
        *clients += 1;
        if *clients < Bucket::CLIENTS {
            self.open.insert((*clients, bucket));
        }
    }

    /// Counts a client no more.
    pub(crate) fn remove(&mut self, bucket: Bucket) {
        let Some(clients) = self.clients.get_mut(&bucket) else { return };
        self.open.remove(&(*clients, bucket));
        *clients -= 1;
        if *clients == 0 {
            self.clients.remove(&bucket);
        } else if *clients < Bucket::CLIENTS {
            self.open.insert((*clients, bucket));
        }
    }

    /// Returns the bucket for a new client: the one with the fewest clients among those that are not
    /// full, or else one that has none, the first one before others. Only when all have clients are
    /// full ones drawn.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the operating system gives no random bytes.
    pub(crate) fn choose(&self) -> Result<Bucket, KeyError> {
        if let Some((_, bucket)) = self.open.first() {
            return Ok(*bucket);
        }
        if self.clients.is_empty() {
            return Ok(Bucket::FIRST);
        }
        let drawn = Bucket::random()?;
        if self.clients.len() == usize::from(Bucket::COUNT) {
            return Ok(drawn);
        }
        Ok(drawn.all_from().find(|bucket| !self.clients.contains_key(bucket)).unwrap_or(drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(buckets: &Buckets) -> Vec<usize> {
        let mut sizes: Vec<_> = buckets.clients.values().copied().collect();
        sizes.sort_unstable();
        sizes
    }

    fn grow(buckets: &mut Buckets, clients: usize) {
        for _ in 0..clients {
            let bucket = buckets.choose().unwrap();
            buckets.add(bucket);
        }
    }

    #[test]
    fn all_buckets_but_one_are_full() {
        let mut buckets = Buckets::default();
        grow(&mut buckets, 31);
        assert_eq!(sizes(&buckets), [31], "few clients share one");
        assert_eq!(buckets.choose(), Ok(Bucket::FIRST), "the same at all services");
        grow(&mut buckets, 2);
        assert_eq!(sizes(&buckets), [1, 32]);
        grow(&mut buckets, 100_000 - 33);
        assert_eq!(sizes(&buckets), vec![32; 3_125]);
        grow(&mut buckets, 31_072);
        assert_eq!(sizes(&buckets), vec![32; 4_096]);
        grow(&mut buckets, 4_096 * 32);
        let sizes = sizes(&buckets);
        assert!(sizes[0] > 32 && sizes[4_095] < 120, "they grow alike: {:?}", sizes[4_095]);
    }

    #[test]
    fn removed_clients_leave_their_places() {
        let mut buckets = Buckets::default();
        grow(&mut buckets, 40);
        (0..9).for_each(|_| buckets.remove(Bucket::FIRST));
        assert_eq!(sizes(&buckets), [8, 23]);
        (0..23).for_each(|_| buckets.remove(Bucket::FIRST));
        assert_eq!(sizes(&buckets), [8]);
        grow(&mut buckets, 24);
        assert_eq!(sizes(&buckets), [32]);
        buckets.remove(Bucket::FIRST); // it has none
        assert_eq!(sizes(&buckets), [32]);
    }

    #[test]
    fn a_bucket_that_has_lost_clients_is_filled_first() {
        let bucket = |text: &str| text.parse::<Bucket>().unwrap();
        let mut buckets = Buckets::default();
        for (text, clients) in [("001", 32), ("002", 20), ("003", 7)] {
            (0..clients).for_each(|_| buckets.add(bucket(text)));
        }
        grow(&mut buckets, 13);
        assert_eq!(sizes(&buckets), [20, 20, 32]);
        grow(&mut buckets, 24);
        assert_eq!(sizes(&buckets), [32, 32, 32]);
    }
}
