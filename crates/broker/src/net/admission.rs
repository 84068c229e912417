//! How many connections there are, in all and from one address, and how fast they come.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::limits::Limits;
use crate::rates::Rates;

/// Whose connections are counted together: an address; of IPv6, the network that a customer has as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

impl Network {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        })
    }
}

/// Counts connections by address.
pub(super) struct Admission {
    /// From one address at the same time.
    most: u32,
    /// Whether addresses of this machine are counted: with the limits that nobody has chosen, programs on it, such as a
    /// proxy that nobody has declared, would be in the way of each other.
    counts_loopback: bool,
    counts: Mutex<Counts>,
}

struct Counts {
    open: HashMap<Network, u32>,
    rates: Rates<Network>,
}

/// One of the connections that an address may have, while it lives.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    network: Network,
}

/// An address has as many connections as it may have, or opens them too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Admission {
    pub fn new(limits: &Limits) -> Arc<Self> {
        let counts = Counts { open: HashMap::new(), rates: Rates::new(limits.connection_rate) };
        let (most, usual) = (limits.max_connections_per_address, Limits::default());
        let counts_loopback =
            most != usual.max_connections_per_address || limits.connection_rate != usual.connection_rate;
        Arc::new(Self { most, counts_loopback, counts: Mutex::new(counts) })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another connection from an address; nothing if such as this one are not counted.
    pub fn admit(self: &Arc<Self>, now: Instant, address: IpAddr) -> Result<Option<Admitted>, TooMany> {
        if address.to_canonical().is_loopback() && !self.counts_loopback {
            return Ok(None);
        }
        let network = Network::of(address);
        let mut counts = self.lock();
        if !counts.rates.take(now, network) {
            return Err(TooMany);
        }
        let open = counts.open.entry(network).or_default();
        if *open >= self.most {
            return Err(TooMany);
        }
        *open += 1;
        Ok(Some(Admitted { admission: self.clone(), network }))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        let Some(open) = counts.open.get_mut(&self.network) else { return };
        *open -= 1;
        if *open == 0 {
            counts.open.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let admission = Admission::new(&Limits { max_connections_per_address: 2, ..Limits::default() });
        let now = Instant::now();
        let admit = |text| admission.admit(now, address(text));
        let (one, two) = (admit("192.0.2.1").unwrap(), admit("::ffff:192.0.2.1").unwrap());
        assert!(admit("192.0.2.1").is_err());
        let _other = admit("192.0.2.2").unwrap();
        drop(one);
        let again = admit("192.0.2.1").unwrap();
        assert!(again.is_some() && admit("192.0.2.1").is_err());
        drop((two, again));
        assert_eq!(admission.lock().open.len(), 1);
    }

    /// V22: networks have a random key as well, though nobody has looked for those that collide.
    #[test]
    fn addresses_are_hashed_with_a_random_key() {
        let admission = Admission::new(&Limits::default());
        let _: &HashMap<Network, u32, RandomState> = &admission.lock().open;
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let admission = Admission::new(&Limits { max_connections_per_address: 1, ..Limits::default() });
        let admit = |text| admission.admit(Instant::now(), address(text));
        let _one = admit("2001:db8::1").unwrap();
        assert!(admit("2001:db8::ffff:1").is_err());
        assert!(admit("2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn this_machine_is_not_counted_with_the_limits_that_nobody_has_chosen() {
        let admission = Admission::new(&Limits::default());
        let most = Limits::default().max_connections_per_address;
        let admit = |admission: &Arc<Admission>, text| admission.admit(Instant::now(), address(text));
        assert!((0..=most).all(|_| matches!(admit(&admission, "127.0.0.1"), Ok(None))));
        let admission = Admission::new(&Limits { max_connections_per_address: 1, ..Limits::default() });
        let _one = admit(&admission, "127.0.0.1").unwrap();
        assert!(admit(&admission, "::ffff:127.0.0.1").is_err());
    }
}
