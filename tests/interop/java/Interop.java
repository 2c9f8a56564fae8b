import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** The Java client and Curator's recipes against a server: Interop HOST:PORT[,...] [NAME...] */
public class Interop {
    interface Run {
        void run(String root) throws Exception;
    }

    /** Seconds for what a slow machine may take its time with. */
    static final int PATIENCE = 60;

    static String hosts;
    static List<String> names;
    static int failed = 0;

    public static void main(String[] args) throws Exception {
        hosts = args[0];
        names = Arrays.asList(args).subList(1, args.length);
        test("client", Interop::client);
        test("multi", Interop::multi);
        test("watches", Interop::watches);
        test("reconnect", Interop::reconnect);
        test("latch", Interop::latch);
        test("selector", Interop::selector);
        test("mutex", Interop::mutex);
        test("read_write", Interop::readWrite);
        test("semaphore", Interop::semaphore);
        test("cache", Interop::cache);
        test("persistent_node", Interop::persistentNode);
        test("containers", Interop::containers);
        System.exit(failed == 0 ? 0 : 1);
    }

    static void test(String name, Run run) throws Exception {
        if (!names.isEmpty() && !names.contains(name)) {
            return;
        }
        String root = "/interop-" + UUID.randomUUID();
        long started = System.nanoTime();
        String verdict = "ok";
        try {
            run.run(root);
        } catch (Throwable why) {
            why.printStackTrace(System.out);
            verdict = "FAILED";
            failed++;
        }
        System.out.printf("java %s: %s (%.1f s)%n", name, verdict, (System.nanoTime() - started) / 1e9);
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void eventually(String what, BooleanSupplier check) throws Exception {
        for (long until = System.nanoTime() + PATIENCE * 1_000_000_000L; System.nanoTime() < until; Thread.sleep(10)) {
            if (check.getAsBoolean()) {
                return;
            }
        }
        throw new AssertionError(what + " did not come about in " + PATIENCE + " s");
    }

    static ZooKeeper connect() throws Exception {
        CountDownLatch up = new CountDownLatch(1);
        ZooKeeper zk = new ZooKeeper(hosts, 30_000, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                up.countDown();
            }
        });
        check(up.await(PATIENCE, TimeUnit.SECONDS), "no connection");
        return zk;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void client(String root) throws Exception {
        try (ZooKeeper zk = connect()) {
            zk.create(root, null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            Stat stat = new Stat();
            zk.create(root + "/a", bytes("1"), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, stat);
            check(stat.getVersion() == 0 && stat.getDataLength() == 1, "create's stat " + stat);
            check(zk.getData(root, false, null) == null, "null data");
            check(zk.setData(root + "/a", bytes("22"), 0).getVersion() == 1, "setData");
            try {
                zk.setData(root + "/a", bytes("x"), 0);
                check(false, "a bad version");
            } catch (KeeperException.BadVersionException expected) {
                check(expected.getPath().equals(root + "/a"), "its path");
            }
            String made = zk.create(root + "/s-", bytes(""), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL);
            check(made.equals(root + "/s-0000000001"), made);
            check(zk.getEphemerals(root).equals(List.of(made)), "getEphemerals");
            check(zk.getAllChildrenNumber(root) == 2, "getAllChildrenNumber");
            check(zk.getACL(root, new Stat()).equals(ZooDefs.Ids.OPEN_ACL_UNSAFE), "getACL");
            check(zk.whoAmI().get(0).getAuthScheme().equals("ip"), "whoAmI");
            zk.addAuthInfo("digest", bytes("u:p"));
            zk.setACL(root + "/a", ZooDefs.Ids.CREATOR_ALL_ACL, 0);
            check(zk.getACL(root + "/a", null).get(0).getId().getScheme().equals("digest"), "setACL");
            check(zk.getConfig(false, new Stat()) != null, "getConfig");
            zk.sync(root, (rc, path, ctx) -> { }, null);
            zk.delete(root + "/a", 1);
        }
    }

    static void multi(String root) throws Exception {
        try (ZooKeeper zk = connect()) {
            List<OpResult> done = zk.multi(List.of(
                Op.create(root, bytes("r"), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                Op.create(root + "/c", bytes("c"), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                Op.setData(root, bytes("s"), 0),
                Op.check(root, 1),
                Op.delete(root + "/c", 0)));
            check(((OpResult.CreateResult) done.get(1)).getPath().equals(root + "/c"), "create in a multi");
            check(((OpResult.SetDataResult) done.get(2)).getStat().getVersion() == 1, "setData in a multi");
            try {
                zk.multi(List.of(Op.setData(root, bytes("t"), -1), Op.check(root, 9), Op.delete(root, -1)));
                check(false, "a multi that fails");
            } catch (KeeperException.BadVersionException expected) {
                List<OpResult> results = expected.getResults();
                int[] errors = results.stream().mapToInt(r -> ((OpResult.ErrorResult) r).getErr()).toArray();
                check(Arrays.equals(errors, new int[] {0, -103, -2}), Arrays.toString(errors));
            }
            List<OpResult> read = zk.multi(List.of(Op.getData(root), Op.getChildren(root), Op.getData(root + "/no")));
            check(new String(((OpResult.GetDataResult) read.get(0)).getData()).equals("s"), "getData in a multi");
            check(((OpResult.ErrorResult) read.get(2)).getErr() == -101, "no node in a multi");
            zk.delete(root, -1);
        }
    }

    static void watches(String root) throws Exception {
        try (ZooKeeper zk = connect(); ZooKeeper other = connect()) {
            zk.create(root, null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            List<String> heard = new CopyOnWriteArrayList<>();
            Watcher watcher = event -> heard.add(event.getType() + " " + event.getPath().substring(root.length()));
            zk.addWatch(root, watcher, AddWatchMode.PERSISTENT_RECURSIVE);
            List<String> plain = new CopyOnWriteArrayList<>();
            Watcher once = event -> plain.add(event.getType().toString());
            zk.exists(root + "/a", once);
            other.create(root + "/a", null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            other.setData(root + "/a", bytes("x"), -1);
            other.delete(root + "/a", -1);
            eventually("three events", () -> heard.size() == 3);
            check(heard.equals(List.of("NodeCreated /a", "NodeDataChanged /a", "NodeDeleted /a")), heard.toString());
            check(plain.equals(List.of("NodeCreated")), plain.toString());
            zk.removeWatches(root, watcher, Watcher.WatcherType.PersistentRecursive, false);
            zk.getChildren(root, once);
            zk.removeWatches(root, once, Watcher.WatcherType.Children, false);
            zk.delete(root, -1);
        }
    }

    /** The connection is lost and comes back; its watches hear what was missed. */
    static void reconnect(String root) throws Exception {
        try (ZooKeeper zk = connect(); ZooKeeper other = connect()) {
            zk.create(root, null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            zk.create(root + "/e", null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
            List<WatchedEvent> heard = new CopyOnWriteArrayList<>();
            zk.getData(root, heard::add, null);
            long session = zk.getSessionId();
            zk.getTestable().injectSessionExpiration();
            zk.getTestable().closeSocket();
            Thread.sleep(200);
            other.setData(root, bytes("x"), -1);
            check(other.exists(root + "/e", false) != null || session == 0, "the ephemeral stays");
            eventually("the watch's event", () -> heard.stream().anyMatch(
                e -> e.getType() == Watcher.Event.EventType.NodeDataChanged
                    || e.getState() == Watcher.Event.KeeperState.Expired));
        }
    }

    static CuratorFramework curator() throws Exception {
        CuratorFramework curator = CuratorFrameworkFactory.builder().connectString(hosts).sessionTimeoutMs(30_000)
            .retryPolicy(new ExponentialBackoffRetry(100, 5)).build();
        curator.start();
        check(curator.blockUntilConnected(PATIENCE, TimeUnit.SECONDS), "no connection");
        return curator;
    }

    static void latch(String root) throws Exception {
        List<CuratorFramework> clients = List.of(curator(), curator(), curator());
        List<LeaderLatch> latches = new ArrayList<>();
        for (CuratorFramework client : clients) {
            LeaderLatch latch = new LeaderLatch(client, root);
            latch.start();
            latches.add(latch);
        }
        for (int left = 3; left > 0; left--) {
            eventually("a leader", () -> latches.stream().anyMatch(LeaderLatch::hasLeadership));
            check(latches.stream().filter(LeaderLatch::hasLeadership).count() == 1, "one leader");
            LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership).findFirst().get();
            latches.remove(leader);
            leader.close();
        }
        clients.forEach(CuratorFramework::close);
    }

    static void selector(String root) throws Exception {
        AtomicInteger led = new AtomicInteger();
        AtomicInteger now = new AtomicInteger();
        List<CuratorFramework> clients = List.of(curator(), curator(), curator());
        List<LeaderSelector> selectors = new ArrayList<>();
        for (CuratorFramework client : clients) {
            LeaderSelector selector = new LeaderSelector(client, root, new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework ignored) throws Exception {
                    check(now.incrementAndGet() == 1, "two leaders");
                    Thread.sleep(10);
                    now.decrementAndGet();
                    led.incrementAndGet();
                }
            });
            selector.autoRequeue();
            selector.start();
            selectors.add(selector);
        }
        eventually("ten reigns", () -> led.get() >= 10);
        selectors.forEach(LeaderSelector::close);
        clients.forEach(CuratorFramework::close);
    }

    static void mutex(String root) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger total = new AtomicInteger();
        List<CompletableFuture<Void>> all = new ArrayList<>();
        for (int n = 0; n < 4; n++) {
            CuratorFramework client = curator();
            all.add(CompletableFuture.runAsync(() -> {
                InterProcessMutex mutex = new InterProcessMutex(client, root);
                try {
                    for (int i = 0; i < 10; i++) {
                        check(mutex.acquire(PATIENCE, TimeUnit.SECONDS), "the lock");
                        check(inside.incrementAndGet() == 1, "two inside");
                        total.incrementAndGet();
                        inside.decrementAndGet();
                        mutex.release();
                    }
                } catch (Exception why) {
                    throw new RuntimeException(why);
                }
                client.close();
            }));
        }
        for (CompletableFuture<Void> one : all) {
            one.get(2 * PATIENCE, TimeUnit.SECONDS);
        }
        check(total.get() == 40, "all turns");
    }

    static void readWrite(String root) throws Exception {
        try (CuratorFramework a = curator(); CuratorFramework b = curator()) {
            InterProcessReadWriteLock one = new InterProcessReadWriteLock(a, root);
            InterProcessReadWriteLock two = new InterProcessReadWriteLock(b, root);
            check(one.readLock().acquire(PATIENCE, TimeUnit.SECONDS) && two.readLock().acquire(PATIENCE, TimeUnit.SECONDS), "readers");
            check(!two.writeLock().acquire(100, TimeUnit.MILLISECONDS), "no writer beside readers");
            one.readLock().release();
            two.readLock().release();
            check(two.writeLock().acquire(PATIENCE, TimeUnit.SECONDS), "a writer");
            check(!one.readLock().acquire(100, TimeUnit.MILLISECONDS), "no reader beside a writer");
            two.writeLock().release();
        }
    }

    static void semaphore(String root) throws Exception {
        try (CuratorFramework a = curator(); CuratorFramework b = curator()) {
            InterProcessSemaphoreV2 one = new InterProcessSemaphoreV2(a, root, 2);
            InterProcessSemaphoreV2 two = new InterProcessSemaphoreV2(b, root, 2);
            Lease first = one.acquire();
            Lease second = two.acquire(PATIENCE, TimeUnit.SECONDS);
            check(second != null && one.acquire(200, TimeUnit.MILLISECONDS) == null, "two leases and no third");
            two.returnLease(second);
            Lease third = one.acquire(PATIENCE, TimeUnit.SECONDS);
            check(third != null, "the lease that came back");
            one.returnLease(first);
            one.returnLease(third);
        }
    }

    static void cache(String root) throws Exception {
        try (CuratorFramework a = curator(); CuratorFramework b = curator()) {
            a.create().creatingParentsIfNeeded().forPath(root + "/x", bytes("1"));
            try (CuratorCache cache = CuratorCache.build(a, root)) {
                cache.start();
                eventually("the first load", () -> cache.get(root + "/x").isPresent());
                for (int n = 0; n < 50; n++) {
                    b.create().forPath(root + "/n" + n, bytes("" + n));
                }
                b.setData().forPath(root + "/x", bytes("2"));
                b.delete().forPath(root + "/n7");
                eventually("all changes", () -> cache.size() == 51
                    && cache.get(root + "/x").map(c -> new String(c.getData()).equals("2")).orElse(false)
                    && cache.get(root + "/n7").isEmpty());
            }
            b.delete().deletingChildrenIfNeeded().forPath(root);
        }
    }

    static void persistentNode(String root) throws Exception {
        try (CuratorFramework a = curator(); CuratorFramework b = curator()) {
            PersistentNode node = new PersistentNode(a, CreateMode.EPHEMERAL, false, root, bytes("here"));
            node.start();
            check(node.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS), "the node");
            b.delete().forPath(root);
            eventually("the node again", () -> {
                try {
                    return b.checkExists().forPath(root) != null;
                } catch (Exception why) {
                    return false;
                }
            });
            node.close();
            // Soon: the other client's server may lag behind.
            eventually("closed nodes go", () -> {
                try {
                    return b.checkExists().forPath(root) == null;
                } catch (Exception why) {
                    return false;
                }
            });
        }
    }

    static void containers(String root) throws Exception {
        try (CuratorFramework a = curator()) {
            a.createContainers(root + "/c");
            String made = a.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath(root + "/c/p-", bytes(""));
            check(made.contains("_c_") && a.checkExists().forPath(made) != null, made);
            check(a.checkExists().forPath(root + "/c").getEphemeralOwner() == 0, "a container's owner");
            a.transaction().forOperations(
                a.transactionOp().create().forPath(root + "/t", bytes("1")),
                a.transactionOp().setData().forPath(root + "/t", bytes("2")),
                a.transactionOp().delete().forPath(root + "/t"));
            a.delete().deletingChildrenIfNeeded().forPath(root);
        }
    }
}
