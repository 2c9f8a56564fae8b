#!/bin/sh
# Every command in order, from the top of the repository.
scripts/bench-failover --kills 6 --stops 0 --state 2048 --bin target/release
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --keys 2097152 --value-size 1000 --prefix state/ --reads 100 --secs 1 --warmup 0
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.729 --pause-secs 3 --timeout-ms 1000 --check --seed 1 --results results/20261121-failover-state/runs/failover-kill/quorate-native/01
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.607 --pause-secs 3 --timeout-ms 1000 --check --seed 2 --results results/20261121-failover-state/runs/failover-kill/quorate-native/02
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.621 --pause-secs 3 --timeout-ms 1000 --check --seed 3 --results results/20261121-failover-state/runs/failover-kill/quorate-native/03
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.254 --pause-secs 3 --timeout-ms 1000 --check --seed 4 --results results/20261121-failover-state/runs/failover-kill/quorate-native/04
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.828 --pause-secs 3 --timeout-ms 1000 --check --seed 5 --results results/20261121-failover-state/runs/failover-kill/quorate-native/05
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.294 --pause-secs 3 --timeout-ms 1000 --check --seed 6 --results results/20261121-failover-state/runs/failover-kill/quorate-native/06
# quorate-native is stopped, DATA removed
