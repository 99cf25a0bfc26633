//! The networks by which crowds of pending connections are counted (`docs/protocol.md` §9).

use std::net::IpAddr;

/// The lengths at which crowds are counted, the coarsest first: the number of bits by which each
/// of them is shorter than a [`Prefix`].
const SHORTER: [u32; 3] = [16, 8, 0];

/// The unit of the limits per address: an IPv4 address, or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Prefix {
    V4(u32),
    V6(u64),
}

/// A pending connection: where it comes from, if that is known, and its number.
pub(crate) type Member = (Option<Prefix>, u64);

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl Prefix {
    /// Returns the network that it belongs to, whose length is `shorter` bits less.
    fn network(self, shorter: u32) -> Self {
        match self {
            Self::V4(bits) => Self::V4(bits >> shorter),
            Self::V6(bits) => Self::V6(bits >> shorter),
        }
    }
}

/// Returns the numbers of those in the fullest /16 or /48, there in the fullest /24 or /56, and
/// there at the fullest address, the oldest first. Networks that are as full as each other stay
/// together. The crowd is sorted.
pub(crate) fn fullest(mut crowd: Vec<Member>) -> Vec<u64> {
    for shorter in SHORTER {
        crowd = fullest_at(&crowd, shorter);
    }
    let mut numbers: Vec<u64> = crowd.into_iter().map(|(_, number)| number).collect();
    numbers.sort_unstable();
    numbers
}

/// Returns the members of the fullest networks of one length, from a sorted crowd.
fn fullest_at(crowd: &[Member], shorter: u32) -> Vec<Member> {
    let network = |member: &Member| member.0.map(|from| from.network(shorter));
    let networks = || crowd.chunk_by(|one, next| network(one) == network(next));
    let most = networks().map(<[_]>::len).max();
    networks().filter(|members| Some(members.len()) == most).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn crowds_are_counted_at_three_lengths() {
        for (crowd, others) in [
            (["192.0.2.1"; 3], ["192.0.2.2", "192.0.2.3", "192.0.2.4"]),
            (["192.0.2.1", "192.0.2.2", "192.0.2.3"], ["192.0.3.1", "192.0.4.1", "192.0.5.1"]),
            (["192.0.2.1", "192.0.3.1", "192.0.4.1"], ["192.1.2.1", "192.2.3.1", "192.3.4.1"]),
            (["2001:db8::1"; 3], ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"]),
            (
                ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"],
                ["2001:db8:0:100::1", "2001:db8:0:200::1", "2001:db8:1::1"],
            ),
            (
                ["2001:db8:0:100::1", "2001:db8:0:200::1", "2001:db8:0:300::1"],
                ["2001:db8:1::1", "2001:db8:2::1", "192.0.2.1"],
            ),
        ] {
            let member = |(number, address): (u64, &str)| {
                (address.parse::<IpAddr>().ok().map(Prefix::from), number)
            };
            let all = (0..).zip(others.into_iter().chain(crowd)).map(member);
            let all: BTreeSet<Member> = all.collect();
            assert_eq!(fullest(all.into_iter().collect()), [3, 4, 5], "{crowd:?}");
        }
        let (one, other) = (Prefix::V4(1 << 20), Prefix::V4(1 << 30));
        let unknown = vec![(None, 1), (None, 3), (Some(one), 2), (Some(other), 4)];
        assert_eq!(fullest(unknown), [1, 3], "those without an address are one crowd");
        assert_eq!(
            fullest(vec![(Some(one), 2), (Some(other), 1)]),
            [1, 2],
            "as full as each other"
        );
    }
}
