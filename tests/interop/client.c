/* The C client against a server: client HOST:PORT[,...] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

static int failed;
static volatile int connected, events;

static void watcher(zhandle_t *zh, int type, int state, const char *path, void *ctx) {
    (void)zh, (void)path, (void)ctx;
    if (type == ZOO_SESSION_EVENT) connected = state == ZOO_CONNECTED_STATE;
}

static void on_event(zhandle_t *zh, int type, int state, const char *path, void *ctx) {
    (void)zh, (void)state, (void)path, (void)ctx;
    if (type != ZOO_SESSION_EVENT) events++;
}

static void expect(const char *what, int got, int wanted) {
    if (got == wanted) return;
    printf("c %s: FAILED (%d, not %d)\n", what, got, wanted);
    failed = 1;
}

static zhandle_t *open_client(const char *hosts, const clientid_t *id) {
    connected = 0;
    zhandle_t *zh = zookeeper_init(hosts, watcher, 30000, id, NULL, 0);
    for (int n = 0; zh && !connected && n < 6000; n++) usleep(10000);
    if (!zh || !connected) { printf("c: FAILED, no connection\n"); exit(1); }
    return zh;
}

/* The first life of a session: everything but its close. */
static clientid_t first(const char *hosts, const char *root) {
    zhandle_t *zh = open_client(hosts, NULL);
    char path[160], made[200], data[100];
    struct Stat stat;
    expect("create", zoo_create(zh, root, "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZOK);
    expect("create again", zoo_create(zh, root, "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZNODEEXISTS);
    int length = sizeof data;
    expect("get", zoo_wget(zh, root, on_event, NULL, data, &length, &stat), ZOK);
    expect("length", length, 3);
    expect("set", zoo_set2(zh, root, "two!", 4, 0, &stat), ZOK);
    expect("version", stat.version, 1);
    expect("bad version", zoo_set(zh, root, "x", 1, 0), ZBADVERSION);
    expect("null", zoo_set(zh, root, NULL, -1, -1), ZOK);
    length = sizeof data;
    expect("get null", zoo_get(zh, root, 0, data, &length, &stat), ZOK);
    expect("null length", length, -1);
    snprintf(path, sizeof path, "%s/s-", root);
    expect("sequence", zoo_create(zh, path, "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL | ZOO_SEQUENCE, made, sizeof made), ZOK);
    expect("its number", atoi(made + strlen(path)), 0);
    struct String_vector names;
    expect("children", zoo_get_children(zh, root, 0, &names), ZOK);
    expect("their count", names.count, 1);
    deallocate_String_vector(&names);
    struct ACL_vector list;
    expect("acl", zoo_get_acl(zh, root, &list, &stat), ZOK);
    expect("entries", list.count, 1);
    deallocate_ACL_vector(&list);

    zoo_op_t ops[3];
    zoo_op_result_t results[3];
    snprintf(path, sizeof path, "%s/m", root);
    zoo_create_op_init(&ops[0], path, "m", 1, &ZOO_OPEN_ACL_UNSAFE, 0, made, sizeof made);
    zoo_check_op_init(&ops[1], root, 99);
    zoo_delete_op_init(&ops[2], root, -1);
    expect("failing multi", zoo_multi(zh, 3, ops, results), ZBADVERSION);
    expect("before it", results[0].err, ZOK);
    expect("the culprit", results[1].err, ZBADVERSION);
    expect("behind it", results[2].err, ZRUNTIMEINCONSISTENCY);
    zoo_check_op_init(&ops[1], path, 0);
    zoo_delete_op_init(&ops[2], path, 0);
    expect("multi", zoo_multi(zh, 3, ops, results), ZOK);

    for (int n = 0; n < 6000 && events < 1; n++) usleep(10000);
    expect("the watch's event", events, 1);
    return *zoo_client_id(zh);
}

/* The second: another process takes the session over. */
static void second(const char *hosts, const char *root, clientid_t id) {
    char path[160];
    struct Stat stat;
    zhandle_t *again = open_client(hosts, &id);
    expect("session", zoo_client_id(again)->client_id == id.client_id, 1);
    expect("after return", zoo_exists(again, root, 0, &stat), ZOK);
    snprintf(path, sizeof path, "%s/s-0000000000", root);
    expect("ephemeral stays", zoo_exists(again, path, 0, &stat), ZOK);
    expect("its owner", stat.ephemeralOwner == id.client_id, 1);
    expect("delete", zoo_delete(again, path, -1), ZOK);
    expect("delete root", zoo_delete(again, root, -1), ZOK);
    expect("close", zookeeper_close(again), ZOK);
}

/* The first life is a process of its own, for a handle that lives would fetch its session back. */
int main(int argc, char **argv) {
    if (argc < 2) { fprintf(stderr, "usage: client HOST:PORT[,...]\n"); return 2; }
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    char root[64];
    snprintf(root, sizeof root, "/interop-c-%d", getpid());
    int ends[2];
    if (pipe(ends)) { perror("c: pipe"); return 1; }
    pid_t child = fork();
    if (child == 0) {
        clientid_t id = first(argv[1], root);
        if (write(ends[1], &id, sizeof id) != sizeof id) failed = 1;
        fflush(stdout);
        _exit(failed);
    }
    close(ends[1]);
    clientid_t id;
    int status;
    if (read(ends[0], &id, sizeof id) != sizeof id) { printf("c: FAILED, no session\n"); return 1; }
    if (waitpid(child, &status, 0) != child || status) failed = 1;
    second(argv[1], root, id);
    if (!failed) printf("c client: ok\n");
    return failed;
}
