#!/bin/sh
# Every command in order, from the top of the repository.
scripts/bench-zk --bin target/release
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --conns 32 --depth 32 --secs 6
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --spread leader --results results/20261122-zk/runs/write-1x1/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --reads 100 --results results/20261122-zk/runs/read-1x1/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 100 --results results/20261122-zk/runs/read-32x32/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-zk/runs/sync-read-32x32/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 90 --value-size 1024 --prefix /mix/k --results results/20261122-zk/runs/mix-90-1k/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --results results/20261122-zk/runs/write-32x32/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 64 --depth 100 --results results/20261122-zk/runs/write-64x100/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --workload fanout --clients 10000 --results results/20261122-zk/runs/fanout/quorate-zk/1
# quorate-zk is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --spread leader --results results/20261122-zk/runs/write-1x1/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --reads 100 --results results/20261122-zk/runs/read-1x1/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 100 --results results/20261122-zk/runs/read-32x32/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-zk/runs/sync-read-32x32/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 90 --value-size 1024 --prefix /mix/k --results results/20261122-zk/runs/mix-90-1k/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --results results/20261122-zk/runs/write-32x32/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 64 --depth 100 --results results/20261122-zk/runs/write-64x100/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --workload fanout --clients 10000 --results results/20261122-zk/runs/fanout/zookeeper/1
# zookeeper is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --spread leader --results results/20261122-zk/runs/write-1x1/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --results results/20261122-zk/runs/read-1x1/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --results results/20261122-zk/runs/read-32x32/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-zk/runs/sync-read-32x32/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 90 --value-size 1024 --prefix /mix/k --results results/20261122-zk/runs/mix-90-1k/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-zk/runs/write-32x32/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 64 --depth 100 --results results/20261122-zk/runs/write-64x100/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload fanout --clients 10000 --results results/20261122-zk/runs/fanout/zookeeper/2
# zookeeper is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --conns 32 --depth 32 --secs 6
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --spread leader --results results/20261122-zk/runs/write-1x1/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --results results/20261122-zk/runs/read-1x1/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --results results/20261122-zk/runs/read-32x32/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-zk/runs/sync-read-32x32/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 90 --value-size 1024 --prefix /mix/k --results results/20261122-zk/runs/mix-90-1k/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-zk/runs/write-32x32/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 64 --depth 100 --results results/20261122-zk/runs/write-64x100/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload fanout --clients 10000 --results results/20261122-zk/runs/fanout/quorate-zk/2
# quorate-zk is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --conns 32 --depth 32 --secs 6
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --spread leader --results results/20261122-zk/runs/write-1x1/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --results results/20261122-zk/runs/read-1x1/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --results results/20261122-zk/runs/read-32x32/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-zk/runs/sync-read-32x32/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 90 --value-size 1024 --prefix /mix/k --results results/20261122-zk/runs/mix-90-1k/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-zk/runs/write-32x32/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 64 --depth 100 --results results/20261122-zk/runs/write-64x100/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload fanout --clients 10000 --results results/20261122-zk/runs/fanout/quorate-zk/3
# quorate-zk is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --secs 1 --warmup 0 --ceiling 0 --conns 32 --depth 32 --keys 1000000 --prefix /many/k --reads 100 --results results/20261122-zk/runs/memory/quorate-zk/3
# quorate-zk is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --spread leader --results results/20261122-zk/runs/write-1x1/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --results results/20261122-zk/runs/read-1x1/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --results results/20261122-zk/runs/read-32x32/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-zk/runs/sync-read-32x32/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 90 --value-size 1024 --prefix /mix/k --results results/20261122-zk/runs/mix-90-1k/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-zk/runs/write-32x32/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 64 --depth 100 --results results/20261122-zk/runs/write-64x100/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload fanout --clients 10000 --results results/20261122-zk/runs/fanout/zookeeper/3
# zookeeper is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 1 --warmup 0 --ceiling 0 --conns 32 --depth 32 --keys 1000000 --prefix /many/k --reads 100 --results results/20261122-zk/runs/memory/zookeeper/3
# zookeeper is stopped, DATA removed
