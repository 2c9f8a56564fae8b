//! The few socket calls that the standard library lacks.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An address in the kernel's form.
pub struct RawAddr {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl RawAddr {
    pub fn of(addr: SocketAddr) -> RawAddr {
        // SAFETY: a sockaddr_storage is plain numbers, for which zero is valid, large and aligned enough for
        // either family's form.
        unsafe {
            let mut storage: libc::sockaddr_storage = zeroed();
            let len = match addr {
                SocketAddr::V4(v4) => {
                    let raw = &mut *(&raw mut storage).cast::<libc::sockaddr_in>();
                    raw.sin_family = libc::AF_INET as libc::sa_family_t;
                    raw.sin_port = v4.port().to_be();
                    raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                    size_of::<libc::sockaddr_in>()
                }
                SocketAddr::V6(v6) => {
                    let raw = &mut *(&raw mut storage).cast::<libc::sockaddr_in6>();
                    raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    raw.sin6_port = v6.port().to_be();
                    raw.sin6_addr.s6_addr = v6.ip().octets();
                    raw.sin6_scope_id = v6.scope_id();
                    size_of::<libc::sockaddr_in6>()
                }
            };
            RawAddr { storage, len: len as libc::socklen_t }
        }
    }

    pub fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub fn len(&self) -> libc::socklen_t {
        self.len
    }
}

/// An unconnected TCP socket of the address' family.
pub fn tcp(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers; a descriptor that is returned is ours alone.
    unsafe {
        let fd = libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Small answers leave at once: batches are formed here, not by the kernel's waiting.
pub fn no_delay(fd: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and length name one int. A socket that refuses has ended already: the next receive
    // says so.
    unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// Ends one or both directions; a socket that has ended already is left as it is.
pub fn shutdown(fd: BorrowedFd<'_>, how: libc::c_int) {
    // SAFETY: no pointers.
    unsafe { libc::shutdown(fd.as_raw_fd(), how) };
}

/// Who is at the other end.
pub fn peer(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    // SAFETY: the kernel writes at most `len` bytes into the storage, which zero bytes have initialised; the
    // family says which form it took.
    unsafe {
        let mut storage: libc::sockaddr_storage = zeroed();
        let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        if libc::getpeername(fd.as_raw_fd(), (&raw mut storage).cast(), &mut len) != 0 {
            return Err(io::Error::last_os_error());
        }
        if i32::from(storage.ss_family) == libc::AF_INET {
            let raw = &*(&raw const storage).cast::<libc::sockaddr_in>();
            let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
            return Ok(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into());
        }
        let raw = &*(&raw const storage).cast::<libc::sockaddr_in6>();
        let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
        Ok(SocketAddrV6::new(ip, u16::from_be(raw.sin6_port), 0, raw.sin6_scope_id).into())
    }
}
