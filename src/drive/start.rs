//! Checks before anything runs: what the machine must give, and what to do where it does not.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Clients, Plan};
use crate::drive::dir::DirError;
use crate::drive::guard::Keys;
use crate::drive::{admin, ring};
use crate::journal::OpenError;
use crate::pipeline::ports::{DiskFault, Door};
use crate::tls;

/// Why the server will not start: what, where, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "io_uring is switched off on this machine (kernel.io_uring_disabled = {setting}); \
         allow it with `sysctl kernel.io_uring_disabled=0`"
    )]
    RingDisabled { setting: String },
    #[error(
        "io_uring is filtered here, as container runtimes do by default ({why}); \
         run with a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    RingFiltered { why: io::Error },
    #[error("Linux {have} lacks what the loop needs of io_uring ({why}); Linux 6.0 or newer has it")]
    RingOld { have: String, why: io::Error },
    #[error("no ring can be made: {why}; see the kernel's log")]
    Ring { why: io::Error },
    #[error(
        "{loops} loops need {need_kib} KiB of locked memory, the limit is {have_kib}; raise it with \
         `ulimit -l {need_kib}` (LimitMEMLOCK= in a systemd unit) or lower --cores"
    )]
    Memlock { loops: usize, have_kib: u64, need_kib: u64 },
    #[error(
        "port {at} of the {door} door is taken; see who has it with `ss -ltnp sport = :{}`, \
         or pass another --{door}", .at.port()
    )]
    PortTaken { door: &'static str, at: SocketAddr },
    #[error("the {door} door cannot listen at {at}: {why}; pass another --{door}")]
    Listen { door: &'static str, at: SocketAddr, why: io::Error },
    #[error(transparent)]
    Dir(#[from] DirError),
    #[error("{dir}: {why}")]
    Journal { dir: String, why: OpenError },
    #[error("{0}; check the device, then start again")]
    Disk(#[from] DiskFault),
    #[error(transparent)]
    Tls(#[from] tls::BadTls),
    #[error("cannot start a thread: {0}; see the limits of this user with `ulimit -u`")]
    Thread(io::Error),
    #[error("{0}")]
    Ended(String),
}

/// Receive buffers of each of `loops` loops: together 1 MiB, but some for each.
pub fn buffers(loops: usize) -> u16 {
    (128 / loops.max(1)).next_power_of_two().clamp(8, 128) as u16
}

/// All that a process registers or locks, one term per holder:
///
/// - per loop its queues (56 KiB) and its receive buffers (8 KiB each, 128 over all loops);
/// - the admin executor's buffer arena, at glommio's least;
/// - the admin executor's three rings, which are as deep as its 64 connections need.
///
/// Log blocks are not registered (see the decision on syncing), state and lanes are ordinary memory.
pub fn locked_bytes(loops: usize) -> usize {
    const ADMIN_RINGS: usize = 3 * 24 * 1024;
    loops * ring::footprint(buffers(loops)) + admin::FOOTPRINT + ADMIN_RINGS
}

/// Fails if the machine cannot run the plan, warns of what will be slow.
pub fn check(plan: &Plan) -> Result<(), StartError> {
    check_ring()?;
    let need = locked_bytes(plan.loops.len()) as u64;
    let (soft, hard) = limit(libc::RLIMIT_MEMLOCK);
    if soft < need && hard >= need {
        set_limit(libc::RLIMIT_MEMLOCK, hard, hard);
    } else if hard < need {
        let (have_kib, need_kib) = (hard >> 10, need.div_ceil(1024));
        return Err(StartError::Memlock { loops: plan.loops.len(), have_kib, need_kib });
    }
    let files = (plan.connections_max * plan.loops.len() + 256) as u64;
    let (soft, hard) = limit(libc::RLIMIT_NOFILE);
    if soft < files {
        set_limit(libc::RLIMIT_NOFILE, files.min(hard), hard);
    }
    if hard < files {
        tracing::warn!(
            "at most {hard} files may be open, {files} are wanted for {} connections per loop; raise it with \
             `ulimit -Hn {files}` (LimitNOFILE= in a systemd unit) or lower --connections",
            plan.connections_max
        );
    }
    if let Some(name) = slow_clock() {
        tracing::warn!(
            "the clock source is {name}, which costs a system call per reading; if the machine's tsc is \
             reliable, boot with clocksource=tsc"
        );
    }
    Ok(())
}

/// Certificates, read and found to belong together, good today, and this node's.
pub fn keys(plan: &Plan, paths: &tls::Paths, clients: Clients) -> Result<Keys, StartError> {
    let papers = tls::Papers::load(paths)?;
    if plan.members.len() > 1 && !papers.nodes().contains(&plan.node) {
        let why = format!(
            "peers will not take it for node {}: it lacks the name {}; have one issued with it among its subject \
             alternative names (DNS)",
            plan.node,
            tls::node_name(plan.node)
        );
        return Err(tls::BadTls { file: paths.cert.clone(), why }.into());
    }
    Ok(Keys {
        doors: papers.server(clients == Clients::Required)?,
        peers: papers.server(true)?,
        dials: papers.client()?,
    })
}

fn check_ring() -> Result<(), StartError> {
    let Err(why) = ring::probe() else { return Ok(()) };
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let setting = setting.trim();
    Err(match why.raw_os_error() {
        Some(libc::EPERM) if !matches!(setting, "" | "0") => {
            StartError::RingDisabled { setting: setting.to_owned() }
        }
        Some(libc::EPERM | libc::EACCES) => StartError::RingFiltered { why },
        // Old kernels and filters that play dead answer alike: the release tells them apart.
        Some(libc::ENOSYS | libc::EINVAL) => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
            let have = release.trim().to_owned();
            let major = have.split('.').next().and_then(|n| n.parse::<u32>().ok());
            if major.is_some_and(|major| major < 6) {
                StartError::RingOld { have, why }
            } else {
                StartError::RingFiltered { why }
            }
        }
        _ => StartError::Ring { why },
    })
}

/// Tries again for a moment: a killed process' ring lets go of its files and ports a little after its end.
pub fn after_the_dead<T>(mut act: impl FnMut() -> T, held: impl Fn(&T) -> bool) -> T {
    for _ in 0..20 {
        let done = act();
        if !held(&done) {
            return done;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    act()
}

/// All listeners of a plan, or the first that cannot be had.
pub fn listen(plan: &Plan) -> Result<(Vec<(Door, TcpListener)>, TcpListener), StartError> {
    let bind = |door: &'static str, at: SocketAddr| {
        let taken = |bound: &io::Result<TcpListener>| {
            bound.as_ref().is_err_and(|why| why.kind() == io::ErrorKind::AddrInUse)
        };
        after_the_dead(|| TcpListener::bind(at), taken).map_err(|why| match why.kind() {
            io::ErrorKind::AddrInUse => StartError::PortTaken { door, at },
            _ => StartError::Listen { door, at, why },
        })
    };
    let doors = plan.listen.iter().map(|(door, at)| Ok((*door, bind(door_name(*door), *at)?)));
    Ok((doors.collect::<Result<_, StartError>>()?, bind("admin", plan.admin)?))
}

pub fn door_name(door: Door) -> &'static str {
    match door {
        Door::Peer => "peer",
        Door::Native => "native",
        Door::Zk => "zk",
        Door::ZkTls => "zk-tls",
        Door::Etcd => "etcd",
        Door::Consul => "consul",
    }
}

/// The clock source's name, if reading it leaves user space.
fn slow_clock() -> Option<Arc<str>> {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let name = std::fs::read_to_string(path).ok()?;
    let fast = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
    (!fast.contains(&name.trim())).then(|| name.trim().into())
}

/// Soft and hard.
fn limit(which: libc::__rlimit_resource_t) -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct that the pointer names.
    assert_eq!(unsafe { libc::getrlimit(which, &mut limit) }, 0);
    (limit.rlim_cur, limit.rlim_max)
}

fn set_limit(which: libc::__rlimit_resource_t, soft: u64, hard: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads the struct. Raising the soft limit to the hard one is always allowed.
    unsafe { libc::setrlimit(which, &limit) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Args;
    use crate::pipeline::layout::{Pin, layout};

    #[test]
    fn locked_memory_is_within_two_mebibytes() {
        for cores in [1, 2, 4, 8, 16] {
            let loops = layout(cores, cores, Pin::Auto).len();
            assert!(locked_bytes(loops) <= 2 << 20, "{cores} cores: {}", locked_bytes(loops));
        }
    }

    #[test]
    fn a_taken_port_names_its_door() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let args = Args { native: Some(at), admin: Some(([127, 0, 0, 1], 0).into()), ..Args::default() };
        let error = listen(&args.plan(1).unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("native door is taken") && text.contains("--native"), "{text}");
    }

    #[test]
    fn this_machine_passes() {
        check(&Args::default().plan(2).unwrap()).unwrap();
    }
}
