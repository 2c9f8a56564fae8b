//! What one connection has done, for those who list connections. Written by its lane, read by anybody.

use std::fmt::Write;
use std::net::SocketAddr;

use super::board::Count;
use crate::realms::tree::ops::op;

#[derive(Debug)]
pub struct Conn {
    pub from: SocketAddr,
    /// 0 until its session is open.
    pub session: Count,
    pub timeout_ms: Count,
    pub received: Count,
    pub sent: Count,
    /// Of the last answered request: its operation, number, the state that its reply showed, when it left (by the
    /// stages' clock) and how long it took.
    last_code: Count,
    last_xid: Count,
    last_zxid: Count,
    last_ms: Count,
    last_us: Count,
    /// When it was made, by the stages' clock.
    since_ms: u64,
    answered: Count,
    latency_us: Count,
    latency_us_max: Count,
    latency_us_min: Count,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    pub xid: i32,
    pub code: i32,
    pub zxid: u64,
    pub now_ms: u64,
    pub us: u64,
}

impl Conn {
    pub fn new(from: SocketAddr, since_ms: u64) -> Conn {
        let conn = Conn {
            from,
            session: Count::default(),
            timeout_ms: Count::default(),
            received: Count::default(),
            sent: Count::default(),
            last_code: Count::default(),
            last_xid: Count::default(),
            last_zxid: Count::default(),
            last_ms: Count::default(),
            last_us: Count::default(),
            since_ms,
            answered: Count::default(),
            latency_us: Count::default(),
            latency_us_max: Count::default(),
            latency_us_min: Count::default(),
        };
        conn.reset();
        conn
    }

    pub fn open(&self, session: u64, timeout_ms: i32) {
        self.session.set(session);
        self.timeout_ms.set(timeout_ms as u64);
    }

    pub fn answered(&self, said: Said) {
        self.sent.add(1);
        self.last_code.set(said.code as i64 as u64);
        // Pings and events do not count as the client's last request.
        if said.xid >= 0 {
            self.last_xid.set(said.xid as u64);
        }
        self.last_zxid.set(said.zxid);
        self.last_ms.set(said.now_ms);
        self.last_us.set(said.us);
        self.answered.add(1);
        self.latency_us.add(said.us);
        self.latency_us_max.set(self.latency_us_max.get().max(said.us));
        self.latency_us_min.set(self.latency_us_min.get().min(said.us));
    }

    /// What `crst` does.
    pub fn reset(&self) {
        for count in [&self.received, &self.sent, &self.answered, &self.latency_us, &self.latency_us_max] {
            count.set(0);
        }
        self.latency_us_min.set(u64::MAX);
        self.last_code.set(NOTHING as u64);
        self.last_xid.set(u64::MAX);
        self.last_zxid.set(u64::MAX);
        self.last_ms.set(0);
        self.last_us.set(0);
    }

    /// Requests that have no reply yet; a word is none.
    pub fn outstanding(&self) -> u64 {
        match self.session.get() {
            0 => 0,
            _ => self.received.get().saturating_sub(self.sent.get()),
        }
    }

    fn latencies_ms(&self) -> (u64, u64, u64) {
        let answered = self.answered.get();
        let mean = self.latency_us.get().checked_div(answered).unwrap_or(0);
        let least = if answered == 0 { 0 } else { self.latency_us_min.get() };
        (least / 1000, mean / 1000, self.latency_us_max.get() / 1000)
    }

    /// Its line in `stat`, or with `all` in `cons`. `wall_ms` makes the stages' clock the wall's.
    pub fn line(&self, all: bool, wall_ms: u64, text: &mut String) {
        let open = self.session.get() != 0;
        let _ = write!(
            text,
            " /{}[{}](queued={},recved={},sent={}",
            self.from,
            u8::from(open),
            self.outstanding(),
            self.received.get(),
            self.sent.get()
        );
        if all && open {
            let (least, mean, most) = self.latencies_ms();
            let _ = write!(
                text,
                ",sid=0x{:x},lop={},est={},to={},lcxid=0x{:x},lzxid=0x{:x},lresp={},llat={},minlat={least},avglat={mean},maxlat={most}",
                self.session.get(),
                name_of(self.last_code.get() as i64),
                self.since_ms.wrapping_add(wall_ms),
                self.timeout_ms.get(),
                self.last_xid.get(),
                self.last_zxid.get(),
                self.last_ms.get(),
                self.last_us.get() / 1000,
            );
        }
        text.push_str(")\n");
    }

    /// The same for the admin pages.
    pub fn json(&self, all: bool, wall_ms: u64) -> serde_json::Value {
        let mut value = serde_json::json!({
            "remote_socket_address": self.from.to_string(),
            "interest_ops": u8::from(self.session.get() != 0),
            "outstanding_requests": self.outstanding(),
            "packets_received": self.received.get(),
            "packets_sent": self.sent.get(),
        });
        if all {
            let (least, mean, most) = self.latencies_ms();
            let more = serde_json::json!({
                "session_id": self.session.get() as i64,
                "last_operation": name_of(self.last_code.get() as i64),
                "established": self.since_ms.wrapping_add(wall_ms),
                "session_timeout": self.timeout_ms.get(),
                "last_cxid": self.last_xid.get() as i64,
                "last_zxid": self.last_zxid.get() as i64,
                "last_response_time": self.last_ms.get(),
                "last_latency": self.last_us.get() / 1000,
                "min_latency": least,
                "avg_latency": mean,
                "max_latency": most,
            });
            let (Some(value), serde_json::Value::Object(more)) = (value.as_object_mut(), more) else {
                unreachable!("both are objects")
            };
            value.extend(more);
        }
        value
    }
}

/// No operation's code.
const NOTHING: i64 = i64::MIN;

/// An operation as the reference abbreviates it.
fn name_of(code: i64) -> &'static str {
    match code as i32 {
        _ if code == NOTHING => "NA",
        op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => "CREA",
        op::DELETE => "DELE",
        op::EXISTS => "EXIS",
        op::GET_DATA => "GETD",
        op::SET_DATA => "SETD",
        op::GET_ACL => "GETA",
        op::SET_ACL => "SETA",
        op::GET_CHILDREN | op::GET_CHILDREN2 => "GETC",
        op::SYNC => "SYNC",
        op::PING => "PING",
        op::CHECK => "CHEC",
        op::MULTI => "MULT",
        op::MULTI_READ => "MLTR",
        op::RECONFIG => "RECO",
        op::CHECK_WATCHES => "CHKW",
        op::REMOVE_WATCHES => "REMW",
        op::SET_WATCHES => "SETW",
        op::SET_WATCHES2 => "STW2",
        op::ADD_WATCH => "ADDW",
        op::GET_EPHEMERALS => "GETE",
        op::GET_ALL_CHILDREN_NUMBER => "GETACN",
        op::WHO_AM_I => "HOMI",
        op::CLOSE_SESSION => "CLOS",
        op::OPEN_SESSION => "SESS",
        _ => "NA",
    }
}
