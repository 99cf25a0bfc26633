//! A set of address ranges, in which an address is found in time that does not grow with their
//! number. Implements the first check of `docs/protocol.md` §10.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::AddressRange;

/// A set of ranges, each as often as it was added. Those of one length, of which there are few, are
/// found by their network.
#[derive(Debug, Default)]
pub(crate) struct AddressSet {
    networks: HashMap<u8, HashMap<AddressRange, usize>>,
}

impl AddressSet {
    /// Adds a range.
    pub(crate) fn insert(&mut self, range: AddressRange) {
        *self.networks.entry(range.prefix()).or_default().entry(range).or_default() += 1;
    }

    /// Removes a range once.
    pub(crate) fn remove(&mut self, range: AddressRange) {
        let Some(networks) = self.networks.get_mut(&range.prefix()) else { return };
        let Some(times) = networks.get_mut(&range) else { return };
        *times -= 1;
        if *times == 0 {
            networks.remove(&range);
        }
        if networks.is_empty() {
            self.networks.remove(&range.prefix());
        }
    }

    /// Returns whether any of the ranges contains `address`.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|(prefix, networks)| {
            AddressRange::around(address, *prefix)
                .is_some_and(|range| networks.contains_key(&range))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_any_range_of_the_set() {
        let mut set = AddressSet::default();
        assert!(!set.contains("192.0.2.1".parse().unwrap()));
        for range in ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::ffff:172.16.0.0/108"] {
            set.insert(range.parse().unwrap());
        }
        let inside = ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8::9", "172.31.0.1"];
        for address in inside {
            assert!(set.contains(address.parse().unwrap()), "{address}");
        }
        for address in ["11.0.0.1", "192.0.2.8", "2001:db9::9", "::a00:1", "172.32.0.1"] {
            assert!(!set.contains(address.parse().unwrap()), "{address}");
        }
        set.insert("::/0".parse().unwrap());
        assert!(set.contains("2001:db9::9".parse().unwrap()));
        assert!(!set.contains("11.0.0.1".parse().unwrap()), "another family");
    }

    #[test]
    fn a_range_is_there_until_it_was_removed_as_often_as_it_was_added() {
        let mut set = AddressSet::default();
        let range: AddressRange = "10.0.0.0/8".parse().unwrap();
        let inside = "10.1.2.3".parse().unwrap();
        set.insert(range);
        set.insert(range);
        set.remove("11.0.0.0/8".parse().unwrap());
        set.remove("10.0.0.0/16".parse().unwrap());
        set.remove(range);
        assert!(set.contains(inside));
        set.remove(range);
        assert!(!set.contains(inside) && set.networks.is_empty());
        set.remove(range);
    }
}
