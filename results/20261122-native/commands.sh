#!/bin/sh
# Every command in order, from the top of the repository.
scripts/bench-native --bin target/release
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --conns 32 --depth 32 --secs 6
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --spread leader --results results/20261122-native/runs/write-1x1/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-1x1/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --reads 100 --read-mode linearizable --spread leader --results results/20261122-native/runs/read-lin-1x1/quorate-native/1
chrt -f 1 loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --rate 10000 --poisson --results results/20261122-native/runs/write-open-10k/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-native/runs/read-lin-32x32/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-32x32/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --batch 32 --results results/20261122-native/runs/write-32x32-batch32/quorate-native/1
# quorate-native is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --spread leader --results results/20261122-native/runs/write-1x1/zookeeper/1
chrt -f 1 loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --rate 10000 --poisson --results results/20261122-native/runs/write-open-10k/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-32x32/zookeeper/1
# zookeeper is stopped, DATA removed
bench hollow --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --conns 32 --depth 32 --secs 6
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --results results/20261122-native/runs/write-1x1/hollow/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --reads 100 --read-mode linearizable --results results/20261122-native/runs/read-lin-1x1/hollow/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/hollow/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-native/runs/read-lin-32x32/hollow/1
# hollow is stopped, DATA removed
loadgen null --protocol native --listen 127.0.0.1:24411 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 1 --depth 1 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-1x1/echo/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/echo/1
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 1 --conns 32 --depth 32 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-32x32/echo/1
# echo is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --spread leader --results results/20261122-native/runs/write-1x1/zookeeper/2
chrt -f 1 loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --rate 10000 --poisson --results results/20261122-native/runs/write-open-10k/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-32x32/zookeeper/2
# zookeeper is stopped, DATA removed
bench hollow --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --conns 32 --depth 32 --secs 6
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --results results/20261122-native/runs/write-1x1/hollow/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --read-mode linearizable --results results/20261122-native/runs/read-lin-1x1/hollow/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/hollow/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-native/runs/read-lin-32x32/hollow/2
# hollow is stopped, DATA removed
loadgen null --protocol native --listen 127.0.0.1:24411 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-1x1/echo/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/echo/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-32x32/echo/2
# echo is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --conns 32 --depth 32 --secs 6
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --spread leader --results results/20261122-native/runs/write-1x1/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-1x1/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --read-mode linearizable --spread leader --results results/20261122-native/runs/read-lin-1x1/quorate-native/2
chrt -f 1 loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --rate 10000 --poisson --results results/20261122-native/runs/write-open-10k/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-native/runs/read-lin-32x32/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-32x32/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --batch 32 --results results/20261122-native/runs/write-32x32-batch32/quorate-native/2
# quorate-native is stopped, DATA removed
bench hollow --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --conns 32 --depth 32 --secs 6
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --results results/20261122-native/runs/write-1x1/hollow/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --read-mode linearizable --results results/20261122-native/runs/read-lin-1x1/hollow/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/hollow/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-native/runs/read-lin-32x32/hollow/3
# hollow is stopped, DATA removed
loadgen null --protocol native --listen 127.0.0.1:24411 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-1x1/echo/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/echo/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-32x32/echo/3
# echo is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --conns 32 --depth 32 --secs 6
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --spread leader --results results/20261122-native/runs/write-1x1/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-1x1/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --reads 100 --read-mode linearizable --spread leader --results results/20261122-native/runs/read-lin-1x1/quorate-native/3
chrt -f 1 loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --rate 10000 --poisson --results results/20261122-native/runs/write-open-10k/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode linearizable --results results/20261122-native/runs/read-lin-32x32/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-32x32/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --batch 32 --results results/20261122-native/runs/write-32x32-batch32/quorate-native/3
# quorate-native is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 1 --depth 1 --spread leader --results results/20261122-native/runs/write-1x1/zookeeper/3
chrt -f 1 loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --rate 10000 --poisson --results results/20261122-native/runs/write-open-10k/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --results results/20261122-native/runs/write-32x32/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --conns 32 --depth 32 --reads 100 --read-mode local --results results/20261122-native/runs/read-local-32x32/zookeeper/3
# zookeeper is stopped, DATA removed
