//! Which addresses the services get, and whether they are free.

use crate::exit::Exit;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Where every service of a bank listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The client API.
    pub(crate) http: SocketAddr,
    /// The branch servers in the order of their ordinals.
    pub(crate) grpc: Vec<SocketAddr>,
}

/// Why the addresses cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    /// The open demo must not be reachable from elsewhere.
    #[error(
        "{flag} {address} can be reached from other machines, and this bank asks nobody to sign in; give an address \
         of the loopback such as 127.0.0.1:{}", address.port()
    )]
    NotLoopback {
        /// The setting.
        flag: &'static str,
        /// What was given.
        address: SocketAddr,
    },
    /// Counting up from the first port leaves the range.
    #[error("--grpc {first} leaves no room for {servers} consecutive ports; choose a lower one")]
    TooHigh {
        /// The first server's address.
        first: SocketAddr,
        /// How many servers there are.
        servers: u32,
    },
    /// The API and a branch server were given the same port.
    #[error("--http {0} is also the port of a branch server; choose another with --http")]
    Overlap(SocketAddr),
    /// Somebody else listens there.
    #[error("port {} is taken: {address} is in use by another program; choose another with {flag}", address.port())]
    Taken {
        /// The setting that moves it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error("cannot listen on {address}: {error}; choose another with {flag}")]
    Refused {
        /// The setting that moves it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

impl AddressError {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            AddressError::NotLoopback { .. } | AddressError::TooHigh { .. } | AddressError::Overlap(_) => Exit::Usage,
            AddressError::Taken { .. } | AddressError::Refused { .. } => Exit::Unavailable,
        }
    }
}

impl Addresses {
    /// Plans the addresses: the branch servers take consecutive ports from `first` on. Port 0
    /// stands for any free port.
    ///
    /// # Errors
    /// The settings do not fit; another choice is needed.
    pub(crate) fn plan(http: SocketAddr, first: SocketAddr, servers: u32) -> Result<Addresses, AddressError> {
        for (flag, address) in [("--http", http), ("--grpc", first)] {
            if !address.ip().is_loopback() {
                return Err(AddressError::NotLoopback { flag, address });
            }
        }
        // Held together until all are chosen, so that no two get the same port.
        let mut held = Vec::new();
        let grpc = (0..servers)
            .map(|ordinal| match first.port() {
                0 => any_port(first, "--grpc", &mut held),
                port => {
                    let port = u32::from(port) + ordinal;
                    let port = u16::try_from(port).map_err(|_| AddressError::TooHigh { first, servers })?;
                    Ok(SocketAddr::new(first.ip(), port))
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let http = if http.port() == 0 { any_port(http, "--http", &mut held)? } else { http };
        if grpc.contains(&http) {
            return Err(AddressError::Overlap(http));
        }
        Ok(Addresses { http, grpc })
    }

    /// Any free ports of the loopback.
    ///
    /// # Errors
    /// The machine has none.
    pub(crate) fn free(servers: u32) -> Result<Addresses, AddressError> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Addresses::plan(any, any, servers)
    }

    /// Whether every address can be listened on now.
    ///
    /// # Errors
    /// The first that cannot, and which setting moves it.
    pub(crate) fn check_free(&self) -> Result<(), AddressError> {
        let grpc = self.grpc.iter().map(|address| ("--grpc", *address));
        for (flag, address) in [("--http", self.http)].into_iter().chain(grpc) {
            listen(address, flag)?;
        }
        Ok(())
    }

    /// Every branch server's URL in the order of the ordinals, with commas between.
    pub(crate) fn grpc_urls(&self) -> String {
        self.grpc.iter().map(|address| format!("http://{address}")).collect::<Vec<_>>().join(",")
    }

    /// The client API's URL.
    pub(crate) fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }
}

fn any_port(address: SocketAddr, flag: &'static str, held: &mut Vec<TcpListener>) -> Result<SocketAddr, AddressError> {
    let listener = listen(address, flag)?;
    let chosen = listener.local_addr().map_err(|error| AddressError::Refused { flag, address, error })?;
    held.push(listener);
    Ok(chosen)
}

fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, AddressError> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => AddressError::Taken { flag, address },
        _ => AddressError::Refused { flag, address, error },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn branch_servers_take_consecutive_ports() {
        let plan = Addresses::plan(address("127.0.0.1:5002"), address("127.0.0.1:50051"), 3).expect("a plan");
        assert_eq!(plan.grpc_urls(), "http://127.0.0.1:50051,http://127.0.0.1:50052,http://127.0.0.1:50053");
        assert_eq!(plan.http_url(), "http://127.0.0.1:5002");
    }

    #[test]
    fn only_the_loopback_is_accepted() {
        for (http, grpc) in [("0.0.0.0:5002", "127.0.0.1:50051"), ("[::1]:5002", "10.0.0.1:50051")] {
            let refusal = Addresses::plan(address(http), address(grpc), 1).expect_err("a refusal");
            assert!(matches!(refusal, AddressError::NotLoopback { .. }), "{refusal}");
            assert_eq!(refusal.exit(), Exit::Usage);
        }
    }

    #[test]
    fn ports_that_do_not_fit_are_refused_by_name() {
        let high = Addresses::plan(address("127.0.0.1:5002"), address("127.0.0.1:65534"), 3);
        assert!(matches!(high, Err(AddressError::TooHigh { servers: 3, .. })));
        let same = Addresses::plan(address("127.0.0.1:50052"), address("127.0.0.1:50051"), 3);
        assert!(matches!(same, Err(AddressError::Overlap(_))));
    }

    #[test]
    fn a_port_that_somebody_holds_is_reported_with_the_setting_that_moves_it() {
        let mut plan = Addresses::free(2).expect("free ports");
        plan.check_free().expect("nobody listens yet");
        let holder = TcpListener::bind("127.0.0.1:0").expect("a listener");
        plan.grpc[1] = holder.local_addr().expect("its address");
        let refusal = plan.check_free().expect_err("the port is taken");
        let port = plan.grpc[1].port();
        assert_eq!(
            refusal.to_string(),
            format!("port {port} is taken: 127.0.0.1:{port} is in use by another program; choose another with --grpc")
        );
    }
}
