#!/usr/bin/env python3
"""Compares the shape of the AdminServer's pages of a real ZooKeeper and of ours, fetched while both serve.

usage: pages.py ZK ZK_ADMIN OURS OURS_ADMIN     (each HOST:PORT; `scripts/pages` starts both)

On both the same is done first: a session with an ephemeral, and one that watches it. Then every page in the list of
either is fetched; keys and the kinds of their values must be the same, all the way down. What a server counts or makes
up is not compared. Keys that are ids, times or paths stand for each other. Exits with 1 if anything differs that is not
listed here with its reason.
"""

import json
import re
import sys
import time
import urllib.error
import urllib.request

import jute
from jute import Closed, Conn, acl, buf, i32

# Pages that ours leaves out or answers with another place to ask: `quorate snapshot` saves and restores, and there are
# no traces to mask.
ELSEWHERE = {"last_snapshot", "voting_view", "set_trace_mask", "snapshot", "restore"}
# page, path of the key: only the reference has it.
LACKS = [
    ("monitor", r".*", "queues between the reference's processors, its caches, its JVM"),
    ("environment", r"(java|user|jvm|host|zookeeper|os\.memory)\..*", "there is no Java, nor its heap"),
    ("environment", r"os\.version", "not known to a door"),
    ("system_properties", r".*", "there is no Java"),
    ("hash", r"digests\..*", "the tree's digest is another function here"),
    ("configuration", r".*", "a data directory of another kind"),
    ("initial_configuration", r".*", "a configuration of another kind"),
]
# Only ours has it.
ADDS = [
    ("environment", r".*", "the system in the place of Java"),
    ("system_properties", r".*", "the system in the place of Java"),
]


def fetch(admin, path):
    try:
        with urllib.request.urlopen(f"http://{admin}{path}", timeout=20) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def session(address):
    """The reference shows pages before it takes sessions."""
    until = time.monotonic() + 30
    while True:
        try:
            return Conn(address)
        except (Closed, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def names(admin):
    """The pages in the list."""
    return set(re.findall(r'/commands/([a-z_]+)', fetch(admin, "/commands")))


def kind(value):
    if isinstance(value, bool):
        return "bool"
    return {int: "number", float: "number", str: "text", type(None): "null"}.get(type(value), type(value).__name__)


def shape(value, at=""):
    """Path of a key to kind of its value. Ids, times and znodes' paths are one key."""
    if isinstance(value, dict):
        found = {at: "object"} if at else {}
        for key, inner in value.items():
            plain = "#" if re.fullmatch(r"-?\d+|0x[0-9a-f]+|/.*", key) else key
            found.update(shape(inner, f"{at}.{plain}" if at else plain))
        return found
    if isinstance(value, list):
        found = {at: "list"}
        for inner in value:
            found.update(shape(inner, f"{at}.[]"))
        return found
    return {at: kind(value)}


def is_known(rules, page, key):
    return any(page == rule and re.fullmatch(pattern, key) for rule, pattern, _ in rules)


def main():
    zk, zk_admin, ours, ours_admin = sys.argv[1:5]
    held = []
    for address in (zk, ours):
        owner, watcher = session(address), session(address)
        made = owner.call(jute.CREATE, buf("/pages") + buf("x") + acl([(31, "world", "anyone")]) + i32(1))
        seen = watcher.call(jute.GET_DATA, buf("/pages") + b"\x01")
        assert made[1] == 0 and seen[1] == 0, (address, made, seen)
        held += [owner, watcher]

    wrong, compared, keys = [], 0, 0
    theirs_listed, ours_listed = names(zk_admin), names(ours_admin)
    for page in sorted(theirs_listed - ours_listed - ELSEWHERE):
        wrong.append(f"{page}: ours does not list it")
    for page in sorted(ours_listed - theirs_listed):
        wrong.append(f"{page}: only ours lists it")
    for page in sorted(theirs_listed & ours_listed - ELSEWHERE):
        left, right = (shape(json.loads(fetch(at, f"/commands/{page}"))) for at in (zk_admin, ours_admin))
        compared += 1
        for key in sorted(left.keys() | right.keys()):
            keys += 1
            if key not in right:
                if not is_known(LACKS, page, key):
                    wrong.append(f"{page}: ours lacks {key} ({left[key]})")
            elif key not in left:
                if not is_known(ADDS, page, key):
                    wrong.append(f"{page}: only ours has {key} ({right[key]})")
            elif left[key] != right[key]:
                wrong.append(f"{page}: {key} is {right[key]}, the reference's is {left[key]}")
    for line in wrong:
        print(line)
    print(f"{compared} pages, {keys} keys, {len(wrong)} differences")
    for conn in held:
        conn.close()
    sys.exit(1 if wrong or compared < 20 else 0)


if __name__ == "__main__":
    main()
