#!/bin/sh
# Every command in order, from the top of the repository.
scripts/publish --pairs 3 --secs 3 --bin target/release
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/quorate-native/noise-1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/quorate-native/noise-1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261122-published/runs/etcd-put-1k-leader/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261122-published/runs/etcd-put-1k-all/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/quorate-native/noise-1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 10 --prefix dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/quorate-native/noise-1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-b --prefix ycsb-b/k --results results/20261122-published/runs/ycsb-b/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-c --prefix ycsb-c/k --results results/20261122-published/runs/ycsb-c/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 1 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/quorate-native/1
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/quorate-native/noise-1
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload restart-log --prefix restart-log/k --restart-cmd for id in 1 2 3; do target/release/quorate dev restart $id --data DATA >/dev/null & done; wait --results results/20261122-published/runs/restart-log/quorate-native/1
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix /zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/quorate-zk/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 1 --prefix /zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 10 --prefix /zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix /etcd-put-1/k --results results/20261122-published/runs/etcd-put-1/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix /etcd-put-1k-leader/k --results results/20261122-published/runs/etcd-put-1k-leader/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix /etcd-put-1k-leader/k --results results/20261122-published/runs/etcd-put-1k-leader/quorate-zk/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix /etcd-put-1k-all/k --results results/20261122-published/runs/etcd-put-1k-all/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-lin --prefix /etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-ser --prefix /etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix /etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/quorate-zk/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 10 --prefix /dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 100 --prefix /dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 1000 --prefix /dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix /ycsb-a/k --results results/20261122-published/runs/ycsb-a/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-b --prefix /ycsb-b/k --results results/20261122-published/runs/ycsb-b/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix /ycsb-b/k --results results/20261122-published/runs/ycsb-b/quorate-zk/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-c --prefix /ycsb-c/k --results results/20261122-published/runs/ycsb-c/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 100 --prefix /fanout-100/k --results results/20261122-published/runs/fanout-100/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 1000 --prefix /fanout-1000/k --results results/20261122-published/runs/fanout-1000/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 1 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix /failover-kill/k --results results/20261122-published/runs/failover-kill/quorate-zk/1
# quorate-zk is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload restart-log --prefix /restart-log/k --restart-cmd for id in 1 2 3; do target/release/quorate dev restart $id --data DATA >/dev/null & done; wait --results results/20261122-published/runs/restart-log/quorate-zk/1
# quorate-zk is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix /restart-log/k --restart-cmd for id in 1 2 3; do target/release/quorate dev restart $id --data DATA >/dev/null & done; wait --results results/20261122-published/runs/restart-log/quorate-zk/noise-1
# quorate-zk is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix /zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/zookeeper/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 1 --prefix /zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 10 --prefix /zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix /etcd-put-1/k --results results/20261122-published/runs/etcd-put-1/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix /etcd-put-1k-leader/k --results results/20261122-published/runs/etcd-put-1k-leader/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix /etcd-put-1k-all/k --results results/20261122-published/runs/etcd-put-1k-all/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix /etcd-put-1k-all/k --results results/20261122-published/runs/etcd-put-1k-all/zookeeper/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-lin --prefix /etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-ser --prefix /etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix /etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 10 --prefix /dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix /dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/zookeeper/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 100 --prefix /dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 1000 --prefix /dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix /ycsb-a/k --results results/20261122-published/runs/ycsb-a/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-b --prefix /ycsb-b/k --results results/20261122-published/runs/ycsb-b/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-c --prefix /ycsb-c/k --results results/20261122-published/runs/ycsb-c/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix /ycsb-c/k --results results/20261122-published/runs/ycsb-c/zookeeper/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 100 --prefix /fanout-100/k --results results/20261122-published/runs/fanout-100/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 1000 --prefix /fanout-1000/k --results results/20261122-published/runs/fanout-1000/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 1 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix /failover-kill/k --results results/20261122-published/runs/failover-kill/zookeeper/1
# zookeeper is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload restart-log --prefix /restart-log/k --restart-cmd scripts/peers restart zookeeper --data DATA --results results/20261122-published/runs/restart-log/zookeeper/1
# zookeeper is stopped, DATA removed
scripts/peers start etcd --data DATA --nodes 3 
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/etcd/noise-1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261122-published/runs/etcd-put-1k-leader/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261122-published/runs/etcd-put-1k-all/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/etcd/noise-1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 10 --prefix dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/etcd/noise-1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-b --prefix ycsb-b/k --results results/20261122-published/runs/ycsb-b/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-c --prefix ycsb-c/k --results results/20261122-published/runs/ycsb-c/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/etcd/noise-1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 1 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/etcd/1
# etcd is stopped, DATA removed
scripts/peers start etcd --data DATA --nodes 3 
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload restart-log --prefix restart-log/k --restart-cmd scripts/peers restart etcd --data DATA --results results/20261122-published/runs/restart-log/etcd/1
# etcd is stopped, DATA removed
scripts/peers start consul --data DATA --nodes 3 
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/consul/noise-1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261122-published/runs/etcd-put-1k-leader/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261122-published/runs/etcd-put-1k-all/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/consul/noise-1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 10 --prefix dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/consul/noise-1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-b --prefix ycsb-b/k --results results/20261122-published/runs/ycsb-b/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-c --prefix ycsb-c/k --results results/20261122-published/runs/ycsb-c/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/consul/noise-1
loadgen run --target consul --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 1 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/consul/1
# consul is stopped, DATA removed
scripts/peers start consul --data DATA --nodes 3 
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload restart-log --prefix restart-log/k --restart-cmd scripts/peers restart consul --data DATA --results results/20261122-published/runs/restart-log/consul/1
# consul is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix /zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix /zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix /zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix /etcd-put-1/k --results results/20261122-published/runs/etcd-put-1/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix /etcd-put-1k-leader/k --results results/20261122-published/runs/etcd-put-1k-leader/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix /etcd-put-1k-all/k --results results/20261122-published/runs/etcd-put-1k-all/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix /etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix /etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix /etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix /dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix /dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix /dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix /ycsb-a/k --results results/20261122-published/runs/ycsb-a/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix /ycsb-b/k --results results/20261122-published/runs/ycsb-b/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix /ycsb-c/k --results results/20261122-published/runs/ycsb-c/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix /fanout-100/k --results results/20261122-published/runs/fanout-100/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix /fanout-1000/k --results results/20261122-published/runs/fanout-1000/quorate-zk/2
loadgen run --target zk --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix /failover-kill/k --results results/20261122-published/runs/failover-kill/quorate-zk/2
# quorate-zk is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix /restart-log/k --restart-cmd for id in 1 2 3; do target/release/quorate dev restart $id --data DATA >/dev/null & done; wait --results results/20261122-published/runs/restart-log/quorate-zk/2
# quorate-zk is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix /zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix /zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix /zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix /etcd-put-1/k --results results/20261122-published/runs/etcd-put-1/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix /etcd-put-1k-leader/k --results results/20261122-published/runs/etcd-put-1k-leader/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix /etcd-put-1k-all/k --results results/20261122-published/runs/etcd-put-1k-all/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix /etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix /etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix /etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix /dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix /dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix /dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix /ycsb-a/k --results results/20261122-published/runs/ycsb-a/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix /ycsb-b/k --results results/20261122-published/runs/ycsb-b/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix /ycsb-c/k --results results/20261122-published/runs/ycsb-c/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix /fanout-100/k --results results/20261122-published/runs/fanout-100/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix /fanout-1000/k --results results/20261122-published/runs/fanout-1000/zookeeper/2
loadgen run --target zk --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix /failover-kill/k --results results/20261122-published/runs/failover-kill/zookeeper/2
# zookeeper is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix /restart-log/k --restart-cmd scripts/peers restart zookeeper --data DATA --results results/20261122-published/runs/restart-log/zookeeper/2
# zookeeper is stopped, DATA removed
scripts/peers start etcd --data DATA --nodes 3 
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261122-published/runs/etcd-put-1k-leader/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261122-published/runs/etcd-put-1k-all/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix ycsb-b/k --results results/20261122-published/runs/ycsb-b/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix ycsb-c/k --results results/20261122-published/runs/ycsb-c/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/etcd/2
loadgen run --target etcd --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/etcd/2
# etcd is stopped, DATA removed
scripts/peers start etcd --data DATA --nodes 3 
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix restart-log/k --restart-cmd scripts/peers restart etcd --data DATA --results results/20261122-published/runs/restart-log/etcd/2
# etcd is stopped, DATA removed
scripts/peers start consul --data DATA --nodes 3 
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261122-published/runs/etcd-put-1k-leader/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261122-published/runs/etcd-put-1k-all/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix ycsb-b/k --results results/20261122-published/runs/ycsb-b/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix ycsb-c/k --results results/20261122-published/runs/ycsb-c/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/consul/2
loadgen run --target consul --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/consul/2
# consul is stopped, DATA removed
scripts/peers start consul --data DATA --nodes 3 
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix restart-log/k --restart-cmd scripts/peers restart consul --data DATA --results results/20261122-published/runs/restart-log/consul/2
# consul is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261122-published/runs/etcd-put-1k-leader/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261122-published/runs/etcd-put-1k-all/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix ycsb-b/k --results results/20261122-published/runs/ycsb-b/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix ycsb-c/k --results results/20261122-published/runs/ycsb-c/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/quorate-native/2
loadgen run --target native --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/quorate-native/2
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix restart-log/k --restart-cmd for id in 1 2 3; do target/release/quorate dev restart $id --data DATA >/dev/null & done; wait --results results/20261122-published/runs/restart-log/quorate-native/2
# quorate-native is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix /zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix /zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix /zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix /etcd-put-1/k --results results/20261122-published/runs/etcd-put-1/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix /etcd-put-1k-leader/k --results results/20261122-published/runs/etcd-put-1k-leader/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix /etcd-put-1k-all/k --results results/20261122-published/runs/etcd-put-1k-all/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix /etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix /etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix /etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix /dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix /dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix /dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix /ycsb-a/k --results results/20261122-published/runs/ycsb-a/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix /ycsb-b/k --results results/20261122-published/runs/ycsb-b/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix /ycsb-c/k --results results/20261122-published/runs/ycsb-c/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix /fanout-100/k --results results/20261122-published/runs/fanout-100/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix /fanout-1000/k --results results/20261122-published/runs/fanout-1000/zookeeper/3
loadgen run --target zk --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix /failover-kill/k --results results/20261122-published/runs/failover-kill/zookeeper/3
# zookeeper is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3 
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix /restart-log/k --restart-cmd scripts/peers restart zookeeper --data DATA --results results/20261122-published/runs/restart-log/zookeeper/3
# zookeeper is stopped, DATA removed
scripts/peers start etcd --data DATA --nodes 3 
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261122-published/runs/etcd-put-1k-leader/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261122-published/runs/etcd-put-1k-all/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix ycsb-b/k --results results/20261122-published/runs/ycsb-b/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix ycsb-c/k --results results/20261122-published/runs/ycsb-c/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/etcd/3
loadgen run --target etcd --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/etcd/3
# etcd is stopped, DATA removed
scripts/peers start etcd --data DATA --nodes 3 
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix restart-log/k --restart-cmd scripts/peers restart etcd --data DATA --results results/20261122-published/runs/restart-log/etcd/3
# etcd is stopped, DATA removed
scripts/peers start consul --data DATA --nodes 3 
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261122-published/runs/etcd-put-1k-leader/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261122-published/runs/etcd-put-1k-all/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix ycsb-b/k --results results/20261122-published/runs/ycsb-b/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix ycsb-c/k --results results/20261122-published/runs/ycsb-c/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/consul/3
loadgen run --target consul --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/consul/3
# consul is stopped, DATA removed
scripts/peers start consul --data DATA --nodes 3 
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix restart-log/k --restart-cmd scripts/peers restart consul --data DATA --results results/20261122-published/runs/restart-log/consul/3
# consul is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261122-published/runs/etcd-put-1/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261122-published/runs/etcd-put-1k-leader/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261122-published/runs/etcd-put-1k-all/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix ycsb-a/k --results results/20261122-published/runs/ycsb-a/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix ycsb-b/k --results results/20261122-published/runs/ycsb-b/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix ycsb-c/k --results results/20261122-published/runs/ycsb-c/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix fanout-100/k --results results/20261122-published/runs/fanout-100/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix fanout-1000/k --results results/20261122-published/runs/fanout-1000/quorate-native/3
loadgen run --target native --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix failover-kill/k --results results/20261122-published/runs/failover-kill/quorate-native/3
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix restart-log/k --restart-cmd for id in 1 2 3; do target/release/quorate dev restart $id --data DATA >/dev/null & done; wait --results results/20261122-published/runs/restart-log/quorate-native/3
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix /zk10-ratio-0/k --results results/20261122-published/runs/zk10-ratio-0/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261122-published/runs/zk10-ratio-50/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261122-published/runs/zk10-ratio-100/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 1 --prefix /zk10-create-1/k --results results/20261122-published/runs/zk10-create-1/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-create --clients 10 --prefix /zk10-create-10/k --results results/20261122-published/runs/zk10-create-10/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix /etcd-put-1/k --results results/20261122-published/runs/etcd-put-1/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix /etcd-put-1k-leader/k --results results/20261122-published/runs/etcd-put-1k-leader/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix /etcd-put-1k-all/k --results results/20261122-published/runs/etcd-put-1k-all/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-lin --prefix /etcd-get-1-lin/k --results results/20261122-published/runs/etcd-get-1-lin/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1-ser --prefix /etcd-get-1-ser/k --results results/20261122-published/runs/etcd-get-1-ser/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix /etcd-get-1k-lin/k --results results/20261122-published/runs/etcd-get-1k-lin/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261122-published/runs/etcd-get-1k-ser/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 10 --prefix /dbt-write-sweep-10/k --results results/20261122-published/runs/dbt-write-sweep-10/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 100 --prefix /dbt-write-sweep-100/k --results results/20261122-published/runs/dbt-write-sweep-100/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload dbt-write-sweep --clients 1000 --prefix /dbt-write-sweep-1000/k --results results/20261122-published/runs/dbt-write-sweep-1000/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix /ycsb-a/k --results results/20261122-published/runs/ycsb-a/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-b --prefix /ycsb-b/k --results results/20261122-published/runs/ycsb-b/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-c --prefix /ycsb-c/k --results results/20261122-published/runs/ycsb-c/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 100 --prefix /fanout-100/k --results results/20261122-published/runs/fanout-100/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload fanout --clients 1000 --prefix /fanout-1000/k --results results/20261122-published/runs/fanout-1000/quorate-zk/3
loadgen run --target zk --cluster DATA/cluster.json --secs 5 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1 --timeout-ms 1000 --check --prefix /failover-kill/k --results results/20261122-published/runs/failover-kill/quorate-zk/3
# quorate-zk is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload restart-log --prefix /restart-log/k --restart-cmd for id in 1 2 3; do target/release/quorate dev restart $id --data DATA >/dev/null & done; wait --results results/20261122-published/runs/restart-log/quorate-zk/3
# quorate-zk is stopped, DATA removed
