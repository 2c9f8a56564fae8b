#!/bin/sh
# Every command in order, from the top of the repository.
scripts/bench-ceilings --bin target/release
loadgen null --protocol zk --listen 127.0.0.1:24411 &
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 3920453 --results results/20261122-ceilings/runs/write-open-70/null-zk/1
# null-zk is stopped, DATA removed
loadgen null --protocol native --listen 127.0.0.1:24411 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 4008485 --results results/20261122-ceilings/runs/write-open-70/null-native/1
# null-native is stopped, DATA removed
loadgen null --protocol etcd --listen 127.0.0.1:24411 &
loadgen run --target etcd --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 2988210 --results results/20261122-ceilings/runs/write-open-70/null-etcd/1
# null-etcd is stopped, DATA removed
loadgen null --protocol consul --listen 127.0.0.1:24411 &
loadgen run --target consul --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 2736490 --results results/20261122-ceilings/runs/write-open-70/null-consul/1
# null-consul is stopped, DATA removed
loadgen null --protocol native --listen 127.0.0.1:24411 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 3874259 --results results/20261122-ceilings/runs/write-open-70/null-native/2
# null-native is stopped, DATA removed
loadgen null --protocol etcd --listen 127.0.0.1:24411 &
loadgen run --target etcd --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 2991111 --results results/20261122-ceilings/runs/write-open-70/null-etcd/2
# null-etcd is stopped, DATA removed
loadgen null --protocol consul --listen 127.0.0.1:24411 &
loadgen run --target consul --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 2818284 --results results/20261122-ceilings/runs/write-open-70/null-consul/2
# null-consul is stopped, DATA removed
loadgen null --protocol zk --listen 127.0.0.1:24411 &
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 4009555 --results results/20261122-ceilings/runs/write-open-70/null-zk/2
# null-zk is stopped, DATA removed
loadgen null --protocol etcd --listen 127.0.0.1:24411 &
loadgen run --target etcd --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 2924992 --results results/20261122-ceilings/runs/write-open-70/null-etcd/3
# null-etcd is stopped, DATA removed
loadgen null --protocol consul --listen 127.0.0.1:24411 &
loadgen run --target consul --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 2746396 --results results/20261122-ceilings/runs/write-open-70/null-consul/3
# null-consul is stopped, DATA removed
loadgen null --protocol zk --listen 127.0.0.1:24411 &
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 4001569 --results results/20261122-ceilings/runs/write-open-70/null-zk/3
# null-zk is stopped, DATA removed
loadgen null --protocol native --listen 127.0.0.1:24411 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --results results/20261122-ceilings/runs/write/null-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --reads 100 --results results/20261122-ceilings/runs/read/null-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --no-preload --rate 3893355 --results results/20261122-ceilings/runs/write-open-70/null-native/3
# null-native is stopped, DATA removed
