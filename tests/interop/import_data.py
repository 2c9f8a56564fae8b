#!/usr/bin/env python3
"""Writes a little of everything to a ZooKeeper server, then prints all that it holds.

usage: import_data.py HOST:PORT [--more N]

One line for each node: path, data and ACL in hexadecimal, the numbers of its Stat. A session with ephemerals stays
open, so the server is to be killed, not asked to stop. `quorate import zookeeper` must come to the same lines, which
`--print` shows of any server.
"""

import argparse
import sys

import jute
from jute import Conn, acl, buf, i32, i64

OPEN = [(31, "world", "anyone")]


def create(conn, path, data=b"", flags=0, entries=OPEN, code=jute.CREATE, ttl=None):
    record = buf(path) + buf(data) + acl(entries) + i32(flags) + (b"" if ttl is None else i64(ttl))
    return conn.call(code, record)


def write(conn, other, more):
    create(conn, "/app", b"root of it all")
    for n in range(6):
        create(conn, f"/app/n{n}", bytes([n]) * n)
        create(conn, "/app/seq-", None, flags=2)
    create(conn, "/app/n1", b"refused: it is there")
    conn.call(jute.SET_DATA, buf("/app/n2") + buf(b"second") + i32(-1))
    conn.call(jute.SET_DATA, buf("/app/n3") + buf(None) + i32(-1))
    conn.call(jute.DELETE, buf("/app/n4") + i32(-1))
    conn.call(jute.AUTH, i32(0) + buf("digest") + buf("u:p"), -4)
    create(conn, "/mine", b"secret", entries=[(31, "auth", ""), (1, "world", "anyone")])
    conn.call(jute.SET_ACL, buf("/app/n5") + acl([(1, "world", "anyone"), (31, "digest", "u:x")]) + i32(-1))
    create(conn, "/box", b"c", flags=4, code=jute.CREATE_CONTAINER)
    create(conn, "/box/in", b"")
    create(conn, "/brief", b"t", flags=5, code=jute.CREATE_TTL, ttl=3600000)
    create(conn, "/zookeeper/quota/app", b"")
    create(conn, "/zookeeper/quota/app/zookeeper_limits", b"count=100,bytes=-1")
    create(conn, "/app/e", b"alive", flags=1)
    create(other, "/app/gone", b"its session ends", flags=1)
    create(other, "/app/gone-", b"too", flags=3)
    part = lambda code, record: i32(code) + b"\0" + i32(-1) + record
    end = i32(-1) + b"\1" + i32(-1)
    made = part(jute.CREATE, buf("/app/m") + buf(b"multi") + acl(OPEN) + i32(0))
    conn.call(jute.MULTI, made + part(jute.SET_DATA, buf("/app/n2") + buf(b"third") + i32(-1)) + end)
    conn.call(jute.MULTI, part(jute.DELETE, buf("/app/m") + i32(-1)) + part(jute.CHECK, buf("/none") + i32(-1)) + end)
    for n in range(more):
        create(conn, f"/app/n0/{n:06}", b"v" * (n % 100))
    other.call(jute.CLOSE)
    create(conn, "/last", b"")


def show(conn, path="/"):
    _, err, body = conn.call(jute.GET_DATA, buf(path) + b"\0")
    data = "-" if err else (lambda d: "null" if d is None else d.hex() or "empty")(body.buf())
    stat = conn.call(jute.EXISTS, buf(path) + b"\0")[2].stat()
    _, err, body = conn.call(jute.GET_ACL, buf(path))
    entries = [(body.i32(), body.buf(), body.buf()) for _ in range(body.i32())]
    print(path, data, acl([(p, s.decode(), i.decode()) for p, s, i in entries]).hex(), *stat.values())
    children = conn.call(jute.GET_CHILDREN, buf(path) + b"\0")[2]
    for name in sorted(children.buf() for _ in range(children.i32())):
        show(conn, path.rstrip("/") + "/" + name.decode())


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("server")
    parser.add_argument("--more", type=int, default=0, help="plain nodes besides")
    parser.add_argument("--print", action="store_true", help="write nothing")
    args = parser.parse_args()
    sys.setrecursionlimit(10000)
    conn = Conn(args.server)
    conn.call(jute.AUTH, i32(0) + buf("digest") + buf("super:secret"), -4)
    if not args.print:
        write(conn, Conn(args.server), args.more)
    show(conn)


if __name__ == "__main__":
    main()
