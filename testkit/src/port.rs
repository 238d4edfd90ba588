//! A port of the loopback interface that stays with a test while nothing listens at it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A port of 127.0.0.1. Connections to it are refused while no listener of this port is open, and no other socket of
/// the machine gets the port until this is dropped.
///
/// A port that is merely closed may be given to another test of the same moment, whose server then answers.
pub struct Port {
    address: SocketAddr,
    /// Is bound, and never listens.
    _held: OwnedFd,
}

impl Port {
    /// Takes a free port.
    ///
    /// # Panics
    /// If no port is free.
    pub fn take() -> Port {
        let held = bound(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port is free");
        let address = net::getsockname(&held).expect("a bound socket has an address");
        Port { address: address.try_into().expect("an address of IPv4"), _held: held }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens a listener at this port. One listener is open at a time.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen(&self) -> io::Result<TcpListener> {
        let socket = bound(&self.address)?;
        net::listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    }
}

/// Returns a socket at this address, which shares it only with sockets that were made here.
fn bound(address: &SocketAddr) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    net::bind(&socket, address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_port_stays_taken_while_nothing_listens() {
        let port = Port::take();
        for _ in 0..3 {
            let refused = TcpStream::connect(port.address()).expect_err("nothing listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let taken = TcpListener::bind(port.address()).expect_err("it is taken");
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
            let listener = port.listen().expect("a listener");
            let _near = TcpStream::connect(port.address()).expect("it listens");
            // The far end closes first, so that the system remembers the connection for a while.
            drop(listener.accept().expect("a connection"));
        }
    }
}
