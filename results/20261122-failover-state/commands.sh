#!/bin/sh
# Every command in order, from the top of the repository.
scripts/bench-failover --bin target/release --state 2048 --kills 10 --stops 0
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --keys 2097152 --value-size 1000 --prefix state/ --reads 100 --secs 1 --warmup 0
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.330 --pause-secs 3 --timeout-ms 1000 --check --seed 1 --results results/20261122-failover-state/runs/failover-kill/quorate-native/01
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.737 --pause-secs 3 --timeout-ms 1000 --check --seed 2 --results results/20261122-failover-state/runs/failover-kill/quorate-native/02
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.738 --pause-secs 3 --timeout-ms 1000 --check --seed 3 --results results/20261122-failover-state/runs/failover-kill/quorate-native/03
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.979 --pause-secs 3 --timeout-ms 1000 --check --seed 4 --results results/20261122-failover-state/runs/failover-kill/quorate-native/04
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.229 --pause-secs 3 --timeout-ms 1000 --check --seed 5 --results results/20261122-failover-state/runs/failover-kill/quorate-native/05
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.149 --pause-secs 3 --timeout-ms 1000 --check --seed 6 --results results/20261122-failover-state/runs/failover-kill/quorate-native/06
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.184 --pause-secs 3 --timeout-ms 1000 --check --seed 7 --results results/20261122-failover-state/runs/failover-kill/quorate-native/07
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.986 --pause-secs 3 --timeout-ms 1000 --check --seed 8 --results results/20261122-failover-state/runs/failover-kill/quorate-native/08
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.305 --pause-secs 3 --timeout-ms 1000 --check --seed 9 --results results/20261122-failover-state/runs/failover-kill/quorate-native/09
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.454 --pause-secs 3 --timeout-ms 1000 --check --seed 10 --results results/20261122-failover-state/runs/failover-kill/quorate-native/10
# quorate-native is stopped, DATA removed
