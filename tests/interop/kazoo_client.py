#!/usr/bin/env python3
"""kazoo's recipes against a server: kazoo_client.py HOST:PORT[,HOST:PORT...] [NAME...]"""

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import uuid

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError, NoAuthError, NodeExistsError, NoNodeError, NotEmptyError, RolledBackError, RuntimeInconsistency,
)
from kazoo.protocol.states import EventType
from kazoo.security import make_digest_acl

logging.basicConfig(level=logging.CRITICAL)
TESTS = []

# Seconds for what a slow machine may take its time with.
PATIENCE = 60


def test(f):
    TESTS.append(f)
    return f


class World:
    """Clients of one test, and a node of its own."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.clients = []
        self.root = "/interop-" + uuid.uuid4().hex

    def client(self, **options):
        client = KazooClient(hosts=self.hosts, timeout=30, **options)
        client.start(timeout=PATIENCE)
        self.clients.append(client)
        return client

    def end(self):
        if self.clients:
            last = self.client(auth_data=[("digest", "user:secret")])
            last.delete(self.root, recursive=True)
        for client in self.clients:
            client.stop()
            client.close()


def eventually(check):
    until = time.time() + PATIENCE
    while time.time() < until:
        if check():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come about in %s s" % PATIENCE)


def catch_up(client):
    """Each client may have a server of its own, and a server's own state lags behind what others were told."""
    client.sync("/")
    return client


def together(*runs):
    """Runs all at once; the first failure is raised."""
    failures = []

    def guarded(run):
        try:
            run()
        except BaseException as why:  # Told by the caller's thread.
            failures.append(why)

    threads = [threading.Thread(target=guarded, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
        assert not thread.is_alive(), "a participant hangs"
    if failures:
        raise failures[0]


def drop(client):
    """The network goes away; the client finds its session again."""
    lost = threading.Event()
    back = threading.Event()

    def listen(state):
        if state == KazooState.SUSPENDED:
            lost.set()
        if state == KazooState.CONNECTED and lost.is_set():
            back.set()

    client.add_listener(listen)
    client._connection._socket.shutdown(2)
    assert back.wait(PATIENCE), "the session did not come back"
    client.remove_listener(listen)


@test
def nodes(world):
    k = world.client()
    k.ensure_path(world.root)
    path = world.root + "/n"
    assert k.create(path, b"one") == path
    data, stat = k.get(path)
    assert (data, stat.version, stat.dataLength) == (b"one", 0, 3)
    assert k.set(path, b"two", version=0).version == 1
    for f, error in [
        (lambda: k.set(path, b"x", version=0), BadVersionError),
        (lambda: k.create(path), NodeExistsError),
        (lambda: k.delete(world.root), NotEmptyError),
        (lambda: k.get(world.root + "/none"), NoNodeError),
    ]:
        try:
            f()
        except error:
            continue
        raise AssertionError("%s was expected" % error)
    assert k.exists(world.root + "/none") is None
    made, stat = k.create(world.root + "/stat", b"", include_data=True)
    assert stat.czxid == stat.mzxid == k.exists(made).czxid
    names = [k.create(world.root + "/s-", sequence=True) for _ in range(3)]
    assert [int(name[-10:]) for name in names] == [2, 3, 4]
    assert sorted(k.get_children(world.root)) == sorted(["n", "stat"] + [name.rsplit("/", 1)[1] for name in names])
    k.create(world.root + "/null", None)
    assert k.get(world.root + "/null")[0] is None
    assert k.get_children(world.root, include_data=True)[1].numChildren == 6
    assert k.sync(path) == path


@test
def transactions(world):
    k = world.client()
    k.ensure_path(world.root)
    t = k.transaction()
    t.create(world.root + "/a", b"1")
    t.create(world.root + "/a/b", b"2")
    t.set_data(world.root + "/a", b"3", version=0)
    t.check(world.root + "/a", 1)
    t.delete(world.root + "/a/b")
    results = t.commit()
    assert results[0] == world.root + "/a" and results[2].version == 1 and results[3:] == [True, True], results
    t = k.transaction()
    t.create(world.root + "/c")
    t.check(world.root + "/a", 9)
    t.delete(world.root + "/a")
    kinds = [type(result) for result in t.commit()]
    assert kinds == [RolledBackError, BadVersionError, RuntimeInconsistency], kinds
    assert k.exists(world.root + "/c") is None


@test
def watches(world):
    k, other = world.client(), world.client()
    k.ensure_path(world.root)
    heard = []
    k.exists(world.root + "/w", watch=heard.append)
    k.get_children(world.root, watch=heard.append)
    other.create(world.root + "/w", b"")
    eventually(lambda: len(heard) == 2)
    assert {event.type for event in heard} == {EventType.CREATED, EventType.CHILD}
    values, names = [], []
    k.DataWatch(world.root + "/w", lambda data, stat: values.append(data))
    k.ChildrenWatch(world.root, lambda children: names.append(sorted(children)))
    for n in range(20):
        other.set(world.root + "/w", b"%d" % n)
    eventually(lambda: values[-1] == b"19")
    other.create(world.root + "/x")
    eventually(lambda: names[-1] == ["w", "x"])
    drop(k)
    other.set(world.root + "/w", b"after")
    other.create(world.root + "/y")
    eventually(lambda: values[-1] == b"after" and names[-1] == ["w", "x", "y"])


@test
def ephemerals(world):
    k, other = world.client(), world.client()
    k.ensure_path(world.root)
    k.create(world.root + "/e", ephemeral=True)
    assert catch_up(other).exists(world.root + "/e").ephemeralOwner == k.client_id[0]
    drop(k)
    assert catch_up(other).exists(world.root + "/e"), "a lost connection is no lost session"
    k.stop()
    assert catch_up(other).exists(world.root + "/e") is None
    k.start(timeout=PATIENCE)


@test
def access(world):
    k = world.client()
    k.ensure_path(world.root)
    owner = world.client(auth_data=[("digest", "user:secret")])
    owner.create(world.root + "/mine", b"s", acl=[make_digest_acl("user", "secret", all=True)])
    assert owner.get(world.root + "/mine")[0] == b"s"
    catch_up(k)
    for f in (lambda: k.get(world.root + "/mine"), lambda: k.create(world.root + "/mine/x"), lambda: k.get_acls(world.root + "/mine")):
        try:
            f()
        except NoAuthError:
            continue
        raise AssertionError("NoAuthError was expected")
    drop(owner)
    assert owner.get(world.root + "/mine")[0] == b"s", "a client shows its ids again"
    k.add_auth("digest", "user:secret")
    assert k.get(world.root + "/mine")[0] == b"s"


@test
def locks(world):
    clients = [world.client() for _ in range(4)]
    clients[0].ensure_path(world.root)
    held, most, total = [0], [0], [0]

    def work(client, name):
        lock = client.Lock(world.root + "/lock", name)
        for _ in range(10):
            with lock:
                held[0] += 1
                most[0] = max(most[0], held[0])
                total[0] += 1
                time.sleep(0.001)
                held[0] -= 1

    together(*[lambda c=c, n=n: work(c, str(n)) for n, c in enumerate(clients)])
    assert (most[0], total[0]) == (1, 40)
    assert catch_up(clients[0]).Lock(world.root + "/lock").contenders() == []


@test
def read_write_locks(world):
    a, b = world.client(), world.client()
    one, two = a.ReadLock(world.root + "/rw", "a"), b.ReadLock(world.root + "/rw", "b")
    assert one.acquire(timeout=PATIENCE) and two.acquire(timeout=PATIENCE)
    assert not b.WriteLock(world.root + "/rw", "w").acquire(blocking=False)
    one.release(), two.release()
    writer = b.WriteLock(world.root + "/rw", "w")
    assert writer.acquire(timeout=PATIENCE)
    writer.release()


@test
def semaphores(world):
    clients = [world.client() for _ in range(4)]
    held, most = [0], [0]

    def work(client):
        for _ in range(5):
            with client.Semaphore(world.root + "/sem", max_leases=2):
                held[0] += 1
                most[0] = max(most[0], held[0])
                time.sleep(0.005)
                held[0] -= 1

    together(*[lambda c=c: work(c) for c in clients])
    assert most[0] <= 2, most


@test
def elections(world):
    clients = [world.client() for _ in range(3)]
    led = []
    together(*[
        lambda c=c, n=n: c.Election(world.root + "/vote", str(n)).run(led.append, n) for n, c in enumerate(clients)
    ])
    assert sorted(led) == [0, 1, 2]


@test
def barriers(world):
    clients = [world.client() for _ in range(3)]
    barrier = clients[0].Barrier(world.root + "/bar")
    barrier.create()
    passed = []
    behind = catch_up(clients[1]).Barrier(world.root + "/bar")
    waiting = threading.Thread(target=lambda: passed.append(behind.wait(PATIENCE)))
    waiting.start()
    time.sleep(0.1)
    assert not passed
    barrier.remove()
    waiting.join(PATIENCE)
    assert passed == [True]
    inside = []

    def enter(client, n):
        double = client.DoubleBarrier(world.root + "/double", 3)
        double.enter()
        inside.append(n)
        double.leave()

    together(*[lambda c=c, n=n: enter(c, n) for n, c in enumerate(clients)])
    assert sorted(inside) == [0, 1, 2]


@test
def queues(world):
    a, b = world.client(), world.client()
    queue = a.Queue(world.root + "/q")
    for n in range(20):
        queue.put(b"%d" % n, priority=50 if n else 10)
    other = catch_up(b).Queue(world.root + "/q")
    assert [other.get() for _ in range(20)] == [b"%d" % n for n in range(20)]
    locking = a.LockingQueue(world.root + "/lq")
    locking.put_all([b"x", b"y"])
    taker = b.LockingQueue(world.root + "/lq")
    assert taker.get(timeout=PATIENCE) == b"x" and taker.consume()
    assert taker.get(timeout=PATIENCE) == b"y" and taker.consume()


@test
def counters_and_parties(world):
    clients = [world.client() for _ in range(3)]
    clients[0].ensure_path(world.root)

    def count(client):
        counter = client.Counter(world.root + "/count")
        for _ in range(20):
            counter += 1

    together(*[lambda c=c: count(c) for c in clients])
    assert catch_up(clients[0]).Counter(world.root + "/count").value == 60
    parties = [client.Party(world.root + "/party", str(n)) for n, client in enumerate(clients)]
    for party in parties:
        party.join()
    eventually(lambda: sorted(parties[0]) == ["0", "1", "2"])
    clients[2].stop()
    eventually(lambda: sorted(parties[0]) == ["0", "1"])
    clients[2].start()


@test
def leases_and_caches(world):
    from kazoo.recipe.cache import TreeCache

    k, other = world.client(), world.client()
    k.ensure_path(world.root + "/tree")
    cache = TreeCache(k, world.root + "/tree")
    cache.start()
    for n in range(10):
        other.create(world.root + "/tree/%d" % n, b"%d" % n)
        other.create(world.root + "/tree/%d/sub" % n, b"s")
    eventually(lambda: len(cache.get_children(world.root + "/tree") or []) == 10)
    eventually(lambda: all(cache.get_data(world.root + "/tree/%d/sub" % n) for n in range(10)))
    other.delete(world.root + "/tree/3", recursive=True)
    eventually(lambda: "3" not in cache.get_children(world.root + "/tree"))
    cache.close()


@test
def many_outstanding(world):
    k = world.client()
    k.ensure_path(world.root)
    writes = [k.create_async(world.root + "/%05d" % n, b"x" * 100) for n in range(2000)]
    reads = [k.get_async(world.root + "/%05d" % n) for n in range(2000)]
    for n, write in enumerate(writes):
        assert write.get(timeout=PATIENCE) == world.root + "/%05d" % n
    assert all(read.get(timeout=PATIENCE)[0] == b"x" * 100 for read in reads)
    assert len(k.get_children(world.root)) == 2000


@test
def commands(world):
    k = world.client()
    assert k.command(b"srvr").startswith("Zookeeper version:")


@test
def over_a_killed_server(world):
    """Needs the servers' pids: CLUSTER=.../cluster.json of `quorate dev`. The last test, as it kills one of them."""
    if "CLUSTER" not in os.environ:
        return
    with open(os.environ["CLUSTER"]) as file:
        pids = {node["zk"]: node["pid"] for node in json.load(file)["nodes"]}
    k, other = world.client(), world.client()
    states, seen = [], []
    k.add_listener(states.append)
    k.create(world.root, b"0")
    k.create(world.root + "/mine", b"", ephemeral=True)
    k.DataWatch(world.root, lambda data, stat: seen.append(data))
    lock = k.Lock(world.root + "-lock", "k")
    lock.acquire(timeout=PATIENCE)
    session = k.client_id[0]
    host, port = k._connection._socket.getpeername()[:2]
    os.kill(pids[f"{host}:{port}"], signal.SIGKILL)
    eventually(lambda: KazooState.SUSPENDED in states)
    eventually(lambda: k.state == KazooState.CONNECTED)
    assert KazooState.LOST not in states and k.client_id[0] == session, "the same session, elsewhere"
    assert k.exists(world.root + "/mine").ephemeralOwner == session
    eventually(lambda: other.state == KazooState.CONNECTED)
    other.retry(other.set, world.root, b"1")
    eventually(lambda: b"1" in seen)
    assert not other.Lock(world.root + "-lock", "other").acquire(blocking=False), "the lock is still held"
    lock.release()
    k.delete(world.root + "-lock", recursive=True)


def main():
    hosts, names = sys.argv[1], sys.argv[2:]
    failed = 0
    for run in TESTS:
        if names and run.__name__ not in names:
            continue
        world = World(hosts)
        started = time.time()
        try:
            run(world)
            verdict = "ok"
        except BaseException:
            verdict = "FAILED"
            failed += 1
            traceback.print_exc()
        try:
            world.end()
        except Exception:
            traceback.print_exc()
        print(f"kazoo {run.__name__}: {verdict} ({time.time() - started:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
