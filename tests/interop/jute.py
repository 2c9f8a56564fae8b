"""The ZooKeeper protocol on a plain socket: no library between the test and the bytes."""

import socket
import struct

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC = range(1, 10)
PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG, CHECK_WATCHES, REMOVE_WATCHES = range(11, 19)
CREATE_CONTAINER, DELETE_CONTAINER, CREATE_TTL, MULTI_READ = 19, 20, 21, 22
AUTH, SET_WATCHES, SASL, GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER, SET_WATCHES2, ADD_WATCH, WHO_AM_I = range(100, 108)
CLOSE = -11

STAT = struct.Struct(">qqqqiiiqiiq")
STAT_FIELDS = (
    "czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "owner", "length", "children", "pzxid",
)


def i32(n):
    return struct.pack(">i", n)


def i64(n):
    return struct.pack(">q", n)


def buf(b):
    if b is None:
        return i32(-1)
    if isinstance(b, str):
        b = b.encode("utf-8", "surrogatepass")
    return i32(len(b)) + b


def vector(items):
    return i32(len(items)) + b"".join(items)


def acl(entries):
    if entries is None:
        return i32(-1)
    return vector([i32(perms) + buf(scheme) + buf(ident) for perms, scheme, ident in entries])


def utf8(path):
    """A path as everybody but Java writes it: there, characters beyond the basic plane take two groups."""
    halves = path.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass")
    return halves.decode("utf-16", "replace").encode()


class Body:
    """Takes fields off the front of a reply's body."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def i32(self):
        self.at += 4
        return struct.unpack_from(">i", self.data, self.at - 4)[0]

    def i64(self):
        self.at += 8
        return struct.unpack_from(">q", self.data, self.at - 8)[0]

    def bool(self):
        self.at += 1
        return self.data[self.at - 1] != 0

    def buf(self):
        length = self.i32()
        if length == -1:
            return None
        self.at += length
        return bytes(self.data[self.at - length:self.at])

    def stat(self):
        self.at += STAT.size
        return dict(zip(STAT_FIELDS, STAT.unpack_from(self.data, self.at - STAT.size)))

    def rest(self):
        return bytes(self.data[self.at:])


class Closed(Exception):
    """The server has hung up."""


class Conn:
    """One connection; `events` gathers what watches say."""

    def __init__(self, address, timeout_ms=30000, session=0, password=bytes(16), last_zxid=0):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        self.events = []
        self.xid = 0
        body = i32(0) + i64(last_zxid) + i32(timeout_ms) + i64(session) + buf(password) + b"\0"
        self.sock.sendall(buf(body))
        reply = Body(self.frame())
        reply.i32()
        self.timeout_ms, self.session, self.password = reply.i32(), reply.i64(), reply.buf()

    def frame(self):
        while len(self.input) < 4 or len(self.input) < 4 + struct.unpack_from(">i", self.input)[0]:
            try:
                more = self.sock.recv(1 << 16)
            except ConnectionError:
                more = b""
            if not more:
                raise Closed()
            self.input += more
        length = struct.unpack_from(">i", self.input)[0]
        body, self.input = self.input[4:4 + length], self.input[4 + length:]
        return body

    def send(self, code, record=b"", xid=None):
        if xid is None:
            self.xid += 1
            xid = self.xid
        try:
            self.sock.sendall(buf(i32(xid) + i32(code) + record))
        except ConnectionError:
            pass  # What the server said before it hung up is still to be read.
        return xid

    def hear(self, xid):
        """(zxid, err, body) of the reply to `xid`; events on the way are kept."""
        while True:
            reply = Body(self.frame())
            got, zxid, err = reply.i32(), reply.i64(), reply.i32()
            if got == -1:
                kind, state, path = reply.i32(), reply.i32(), utf8(reply.buf())
                self.events.append((zxid, err, kind, state, path))
                continue
            assert got == xid, f"a reply to {got} where {xid} is waited for"
            return zxid, err, reply

    def call(self, code, record=b"", xid=None):
        return self.hear(self.send(code, record, xid))

    def close(self):
        self.sock.close()


def word(address, text):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(text.encode())
        out = b""
        while more := sock.recv(1 << 16):
            out += more
        return out.decode()
