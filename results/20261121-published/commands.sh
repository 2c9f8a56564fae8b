#!/bin/sh
# Every command in order, from the top of the repository.
scripts/publish --workloads zk10-ratio,etcd-put,etcd-get-1k,ycsb-a --pairs 1 --secs 3 --warmup 1 --bin target/release
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261121-published/runs/zk10-ratio-0/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261121-published/runs/zk10-ratio-0/quorate-native/noise-1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261121-published/runs/zk10-ratio-50/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261121-published/runs/zk10-ratio-100/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261121-published/runs/etcd-put-1/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261121-published/runs/etcd-put-1k-leader/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261121-published/runs/etcd-put-1k-all/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261121-published/runs/etcd-put-1k-all/quorate-native/noise-1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261121-published/runs/etcd-get-1k-lin/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261121-published/runs/etcd-get-1k-ser/quorate-native/1
loadgen run --target native --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix ycsb-a/k --results results/20261121-published/runs/ycsb-a/quorate-native/1
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 17000 &
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix /zk10-ratio-0/k --results results/20261121-published/runs/zk10-ratio-0/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261121-published/runs/zk10-ratio-50/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261121-published/runs/zk10-ratio-50/quorate-zk/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261121-published/runs/zk10-ratio-100/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix /etcd-put-1/k --results results/20261121-published/runs/etcd-put-1/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix /etcd-put-1k-leader/k --results results/20261121-published/runs/etcd-put-1k-leader/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix /etcd-put-1k-all/k --results results/20261121-published/runs/etcd-put-1k-all/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix /etcd-get-1k-lin/k --results results/20261121-published/runs/etcd-get-1k-lin/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-lin --prefix /etcd-get-1k-lin/k --results results/20261121-published/runs/etcd-get-1k-lin/quorate-zk/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261121-published/runs/etcd-get-1k-ser/quorate-zk/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix /ycsb-a/k --results results/20261121-published/runs/ycsb-a/quorate-zk/1
# quorate-zk is stopped, DATA removed
scripts/peers start zookeeper --data DATA --nodes 3
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix /zk10-ratio-0/k --results results/20261121-published/runs/zk10-ratio-0/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix /zk10-ratio-50/k --results results/20261121-published/runs/zk10-ratio-50/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261121-published/runs/zk10-ratio-100/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload zk10-ratio --reads 100 --prefix /zk10-ratio-100/k --results results/20261121-published/runs/zk10-ratio-100/zookeeper/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix /etcd-put-1/k --results results/20261121-published/runs/etcd-put-1/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix /etcd-put-1k-leader/k --results results/20261121-published/runs/etcd-put-1k-leader/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix /etcd-put-1k-all/k --results results/20261121-published/runs/etcd-put-1k-all/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix /etcd-get-1k-lin/k --results results/20261121-published/runs/etcd-get-1k-lin/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261121-published/runs/etcd-get-1k-ser/zookeeper/1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-get-1k-ser --prefix /etcd-get-1k-ser/k --results results/20261121-published/runs/etcd-get-1k-ser/zookeeper/noise-1
loadgen run --target zk --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix /ycsb-a/k --results results/20261121-published/runs/ycsb-a/zookeeper/1
# zookeeper is stopped, DATA removed
scripts/peers start etcd --data DATA --nodes 3
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261121-published/runs/zk10-ratio-0/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261121-published/runs/zk10-ratio-50/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261121-published/runs/zk10-ratio-100/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261121-published/runs/etcd-put-1/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261121-published/runs/etcd-put-1/etcd/noise-1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261121-published/runs/etcd-put-1k-leader/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261121-published/runs/etcd-put-1k-all/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261121-published/runs/etcd-get-1k-lin/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261121-published/runs/etcd-get-1k-ser/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix ycsb-a/k --results results/20261121-published/runs/ycsb-a/etcd/1
loadgen run --target etcd --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload ycsb-a --prefix ycsb-a/k --results results/20261121-published/runs/ycsb-a/etcd/noise-1
# etcd is stopped, DATA removed
scripts/peers start consul --data DATA --nodes 3
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 0 --prefix zk10-ratio-0/k --results results/20261121-published/runs/zk10-ratio-0/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 50 --prefix zk10-ratio-50/k --results results/20261121-published/runs/zk10-ratio-50/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload zk10-ratio --reads 100 --prefix zk10-ratio-100/k --results results/20261121-published/runs/zk10-ratio-100/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1 --prefix etcd-put-1/k --no-preload --results results/20261121-published/runs/etcd-put-1/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261121-published/runs/etcd-put-1k-leader/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 0 --workload etcd-put-1k-leader --prefix etcd-put-1k-leader/k --no-preload --results results/20261121-published/runs/etcd-put-1k-leader/consul/noise-1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-put-1k-all --prefix etcd-put-1k-all/k --no-preload --results results/20261121-published/runs/etcd-put-1k-all/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-lin --prefix etcd-get-1k-lin/k --results results/20261121-published/runs/etcd-get-1k-lin/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload etcd-get-1k-ser --prefix etcd-get-1k-ser/k --results results/20261121-published/runs/etcd-get-1k-ser/consul/1
loadgen run --target consul --cluster DATA/cluster.json --secs 3 --warmup 1 --ceiling 1 --workload ycsb-a --prefix ycsb-a/k --results results/20261121-published/runs/ycsb-a/consul/1
# consul is stopped, DATA removed
