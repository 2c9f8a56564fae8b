#!/usr/bin/env python3
"""Writes what a fresh real ZooKeeper answers to one conversation: capture.py HOST:PORT > src/doors/zk/golden/talk.txt

`>` is what the client sends, `<` what it gets, in hexadecimal. What the server makes up (session ids, passwords,
times) is written as `..`.
"""

import sys

import jute
from jute import acl, buf, i32, i64, vector

OPEN = acl([(31, "world", "anyone")])
WITH_STAT = {jute.CREATE2, jute.EXISTS, jute.GET_DATA, jute.SET_DATA, jute.GET_CHILDREN2, jute.GET_ACL, jute.SET_ACL,
             jute.CREATE_CONTAINER, jute.CREATE_TTL}


def part(code, record):
    return i32(code) + b"\0" + i32(-1) + record



END = i32(-1) + b"\1" + i32(-1)

TALK = [
    (jute.EXISTS, buf("/") + b"\0"),
    (jute.GET_CHILDREN2, buf("/zookeeper") + b"\0"),
    (jute.CREATE, buf("/g") + buf(b"golden") + OPEN + i32(0)),
    (jute.CREATE2, buf("/g/a") + buf(None) + OPEN + i32(0)),
    (jute.CREATE, buf("/g/s-") + buf(b"") + OPEN + i32(3)),
    (jute.CREATE, buf("/g") + buf(b"") + OPEN + i32(0)),
    (jute.CREATE, buf("/no/x") + buf(b"") + OPEN + i32(0)),
    (jute.CREATE, buf("/g/bad/") + buf(b"") + OPEN + i32(0)),
    (jute.CREATE, buf("/g/x") + buf(b"") + vector([]) + i32(0)),
    (jute.CREATE_CONTAINER, buf("/g/c") + buf(b"") + OPEN + i32(4)),
    (jute.CREATE_TTL, buf("/g/t") + buf(b"") + OPEN + i32(5) + i64(1 << 30)),
    (jute.GET_DATA, buf("/g") + b"\1"),
    (jute.GET_DATA, buf("/g/a") + b"\0"),
    (jute.GET_DATA, buf("/none") + b"\1"),
    (jute.EXISTS, buf("/later") + b"\1"),
    (jute.SET_DATA, buf("/g") + buf(b"more") + i32(0)),
    (jute.SET_DATA, buf("/g") + buf(b"more") + i32(0)),
    (jute.CREATE, buf("/later") + buf(b"") + OPEN + i32(0)),
    (jute.GET_ACL, buf("/g")),
    (jute.SET_ACL, buf("/g/a") + acl([(1, "world", "anyone"), (31, "ip", "10.0.0.0/8")]) + i32(0)),
    (jute.GET_ACL, buf("/zookeeper/config")),
    (jute.GET_CHILDREN, buf("/g/c") + b"\1"),
    (jute.MULTI, part(jute.CREATE, buf("/g/m") + buf(b"") + OPEN + i32(0)) + part(jute.CHECK, buf("/g/m") + i32(0))
     + part(jute.DELETE, buf("/g/m") + i32(0)) + END),
    (jute.MULTI, part(jute.CREATE, buf("/g/m") + buf(b"") + OPEN + i32(0)) + part(jute.CHECK, buf("/g/m") + i32(7))
     + part(jute.DELETE, buf("/g/m") + i32(0)) + END),
    (jute.MULTI, END),
    (jute.MULTI_READ, part(jute.GET_CHILDREN, buf("/g/c") + b"\0") + part(jute.GET_DATA, buf("/none") + b"\0") + END),
    (jute.ADD_WATCH, buf("/g") + i32(1)),
    (jute.CHECK_WATCHES, buf("/g") + i32(5)),
    (jute.REMOVE_WATCHES, buf("/g") + i32(2)),
    (jute.DELETE, buf("/g/a") + i32(3)),
    (jute.DELETE, buf("/g/a") + i32(-1)),
    (jute.DELETE, buf("/zookeeper") + i32(-1)),
    (jute.SET_WATCHES, i64(1) + vector([buf("/g"), buf("/gone")]) + vector([buf("/later")]) + vector([buf("/none")])),
    (jute.GET_ALL_CHILDREN_NUMBER, buf("/g")),
    (jute.GET_EPHEMERALS, buf("/")),
    (jute.SYNC, buf("/g")),
    (jute.WHO_AM_I, b""),
    (jute.PING, b""),
    (jute.AUTH, i32(0) + buf("digest") + buf("user:password")),
    (jute.CREATE, buf("/g/mine") + buf(b"") + acl([(31, "auth", "")]) + i32(0)),
    (jute.GET_ACL, buf("/g/mine")),
    (jute.CREATE, buf("/g/\u4e2d") + buf(b"") + OPEN + i32(0)),
    (jute.CREATE, buf("/g") + buf(b"")),
    (jute.CLOSE, b""),
]



def masked(data, spans):
    return "".join(".." if any(a <= at < b for a, b in spans) else f"{byte:02x}" for at, byte in enumerate(data))


def main():
    conn = jute.Conn(sys.argv[1], timeout_ms=10000)
    print("# A conversation with ZooKeeper 3.9.5, one server, extendedTypesEnabled. Made by tests/interop/capture.py.")
    connect = i32(0) + i64(0) + i32(10000) + i64(0) + buf(bytes(16)) + b"\0"
    print("> " + buf(connect).hex())
    answer = i32(0) + i32(conn.timeout_ms) + i64(conn.session) + buf(conn.password) + b"\0"
    print("< " + masked(buf(answer), [(12, 20), (24, 40)]))
    for number, (code, record) in enumerate(TALK):
        xid = {jute.PING: -2, jute.AUTH: -4}.get(code, number + 1)
        print("> " + buf(i32(xid) + i32(code) + record).hex())
        conn.send(code, record, xid)
        while True:
            body = conn.frame()
            spans = []
            if body[:4] != i32(-1) and code in WITH_STAT and len(body) > 16 + 68:
                stat = len(body) + 4 - 68
                spans.append((stat + 16, stat + 32))
                if body[-24:-16] != bytes(8):
                    spans.append((stat + 44, stat + 52))
            if code == jute.EXISTS and len(body) == 16 + 68:
                spans.append((4 + 16 + 16, 4 + 16 + 32))
            if code in (jute.SET_DATA, jute.SET_ACL) and len(body) == 16 + 68:
                spans.append((4 + 16 + 16, 4 + 16 + 32))
            print("< " + masked(buf(body), spans))
            if body[:4] == i32(xid):
                break


if __name__ == "__main__":
    main()
