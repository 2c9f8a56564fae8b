//! Ports for servers that a test is about to start.
//!
//! A port that was asked of the kernel and let go of may be somebody's before the server listens there, or between
//! two of its lives: any connection that is opened meanwhile takes one. So they are held, bound but not listening.
//! To whoever asks for any port the kernel gives none of these; a server, which names its port and may reuse it,
//! gets it; who dials it before that is refused.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Mutex;

/// Until this process ends: no other test of it gets one of them again.
static HELD: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

pub fn free_port() -> SocketAddr {
    let (held, port) = bind(0).expect("a port of this machine's");
    HELD.lock().unwrap().push(held);
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Holds all of these, or none: somebody has one of them.
pub fn hold(ports: impl IntoIterator<Item = u16>) -> bool {
    let Ok(all) = ports.into_iter().map(bind).collect::<io::Result<Vec<_>>>() else { return false };
    HELD.lock().unwrap().extend(all.into_iter().map(|(held, _)| held));
    true
}

fn bind(port: u16) -> io::Result<(OwnedFd, u16)> {
    let mut at = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    };
    let mut length = size_of_val(&at) as libc::socklen_t;
    let checked = |result: libc::c_int| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) };
    // SAFETY: every pointer is to a live value of the length that is given with it; the descriptor is ours alone.
    unsafe {
        let held = checked(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))?;
        let held = OwnedFd::from_raw_fd(held);
        // Not to be shared while it is bound, so that two who look for ports do not both find it; from then on it is.
        checked(libc::bind(held.as_raw_fd(), (&raw const at).cast(), length))?;
        let (on, size) = (1 as libc::c_int, size_of::<libc::c_int>() as libc::socklen_t);
        let (level, reuse) = (libc::SOL_SOCKET, libc::SO_REUSEADDR);
        checked(libc::setsockopt(held.as_raw_fd(), level, reuse, (&raw const on).cast(), size))?;
        checked(libc::getsockname(held.as_raw_fd(), (&raw mut at).cast(), &mut length))?;
        Ok((held, u16::from_be(at.sin_port)))
    }
}
