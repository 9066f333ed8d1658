//! Which network addresses a message may go to.
//!
//! Whoever may write a destination's address must not be able to reach what only this machine's
//! neighbours can: loopback, private and link-local networks, a cloud's metadata service. The check is
//! made on the addresses that the connection is opened to, after every lookup, so that a name whose
//! answer changes does not get around it. What is not known to be public is refused.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What goes wrong with a lookup.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whether `address` is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0, ..] => true,                        // this network
        [10, ..] => true,                       // private
        [100, b, ..] => (64..128).contains(&b), // carriers' shared space
        [127, ..] => true,                      // loopback
        [169, 254, ..] => true,                 // link-local, metadata services
        [172, b, ..] => (16..32).contains(&b),  // private
        [192, 0, 0, _] => true,                 // protocol assignments
        [192, 0, 2, _] => true,                 // documentation
        [192, 88, 99, _] => true,               // 6to4 relays
        [192, 168, ..] => true,                 // private
        [198, 18..=19, ..] => true,             // benchmarking
        [198, 51, 100, _] => true,              // documentation
        [203, 0, 113, _] => true,               // documentation
        [224..=255, ..] => true,                // multicast, reserved, broadcast
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] => is_public_v4(embedded(high, low)), // IPv4-mapped
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(embedded(high, low)), // NAT64
        [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),            // 6to4
        [0x2001, second, ..] if second < 0x200 => false, // protocol assignments, Teredo among them
        [0x2001, 0xdb8, ..] => false,                    // documentation
        [0x3fff, second, ..] if second < 0x1000 => false, // documentation
        // The only block that is handed out; loopback, unique-local, link-local, site-local, multicast,
        // discard and the old IPv4-compatible forms lie outside of it.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// An address, or all that a name stands for, is not public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} leads to {address}, which is not a public address: set allow_private_addresses if that is meant"
)]
pub struct Refused {
    /// The name or address as it was given.
    pub host: String,
    /// The first address that was refused.
    pub address: IpAddr,
}

/// Those of `addresses` that may be connected to.
///
/// # Errors
/// [`Refused`] when there are addresses and none is public.
pub fn permit(
    host: &str,
    addresses: impl IntoIterator<Item = SocketAddr>,
    is_permitted: fn(IpAddr) -> bool,
) -> Result<Vec<SocketAddr>, Refused> {
    let mut permitted = Vec::new();
    let mut refused = None;
    for address in addresses {
        if is_permitted(address.ip()) {
            permitted.push(address);
        } else if refused.is_none() {
            refused = Some(address.ip());
        }
    }
    match refused {
        Some(address) if permitted.is_empty() => Err(Refused {
            host: host.to_string(),
            address,
        }),
        _ => Ok(permitted),
    }
}

/// Checks a host that is written as an address. Such a host is never looked up, so the resolver does
/// not see it. A name passes.
///
/// # Errors
/// [`Refused`] when it is an address that is not public.
pub fn check_literal(host: &str) -> Result<(), Refused> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) if !is_public(address) => Err(Refused {
            host: host.to_string(),
            address,
        }),
        _ => Ok(()),
    }
}

/// What a lookup finds.
type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks names up and hands on only the addresses that a destination may have. Every connection, of
/// whatever protocol, is opened to an address that came from here.
#[derive(Clone)]
pub struct Guard {
    look_up: Arc<dyn Fn(String, u16) -> Found + Send + Sync>,
    is_permitted: fn(IpAddr) -> bool,
}

impl Guard {
    /// With the system's resolver. With `allow_private_addresses` every address may be connected to.
    pub fn new(allow_private_addresses: bool) -> Guard {
        Guard {
            look_up: Arc::new(|host, port| {
                Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
            }),
            is_permitted: if allow_private_addresses {
                |_| true
            } else {
                is_public
            },
        }
    }

    /// With another resolver and another notion of what is public.
    #[cfg(test)]
    pub fn of(
        look_up: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static,
        is_permitted: fn(IpAddr) -> bool,
    ) -> Guard {
        Guard {
            look_up: Arc::new(move |host, port| {
                let found = look_up(&host).into_iter();
                let found = found.map(|address| SocketAddr::new(address, port)).collect();
                Box::pin(async move { Ok(found) })
            }),
            is_permitted,
        }
    }

    /// The addresses of `host` that may be connected to. A host that is written as an address is checked
    /// like one that was looked up.
    ///
    /// # Errors
    /// What the resolver says, or [`Refused`].
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, BoxError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = (self.look_up)(bare.to_string(), port).await?;
        Ok(permit(host, found, self.is_permitted)?)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            // The port of the address is put in by whoever connects.
            let permitted = guard.addresses(name.as_str(), 0).await?;
            let addresses: Addrs = Box::new(permitted.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_the_inside_are_refused() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(inside), "{inside}");
        }
    }

    #[test]
    fn addresses_of_the_internet_pass() {
        for outside in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.1.1.1",
            "128.0.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.1.0.1",
            "192.167.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(public(outside), "{outside}");
        }
    }

    #[test]
    fn of_a_name_with_both_only_the_public_addresses_are_used() {
        let inside: SocketAddr = "10.0.0.1:0".parse().unwrap();
        let outside: SocketAddr = "1.1.1.1:0".parse().unwrap();
        assert_eq!(permit("x", [inside, outside], is_public), Ok(vec![outside]));
        assert!(permit("x", [inside], is_public).is_err());
        assert_eq!(permit("x", [], is_public), Ok(vec![]));
    }

    #[test]
    fn a_host_written_as_an_address_is_checked() {
        assert!(check_literal("127.0.0.1").is_err());
        assert!(check_literal("[::1]").is_err());
        assert!(check_literal("[::ffff:192.168.0.1]").is_err());
        assert!(check_literal("8.8.8.8").is_ok());
        assert!(check_literal("cs.example").is_ok());
    }

    #[tokio::test]
    async fn the_resolver_refuses_a_name_that_leads_home() {
        let outcome = Guard::new(false).resolve("localhost".parse().unwrap()).await;
        let error = outcome.err().expect("localhost is not public").to_string();
        assert!(error.contains("allow_private_addresses"), "{error}");
        let literal = Guard::new(false).addresses("[::1]", 25).await;
        assert!(literal.is_err(), "an address is no way around");
        let permitted = Guard::new(true).addresses("127.0.0.1", 25).await.unwrap();
        assert_eq!(permitted, ["127.0.0.1:25".parse().unwrap()]);
    }
}
