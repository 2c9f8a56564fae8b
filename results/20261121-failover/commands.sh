#!/bin/sh
# Every command in order, from the top of the repository.
scripts/bench-failover --kills 12 --stops 2 --bin /tmp/me/bin --out results/20261121-failover
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.875 --pause-secs 3 --timeout-ms 1000 --check --seed 1 --results results/20261121-failover/runs/failover-kill/quorate-native/01
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.690 --pause-secs 3 --timeout-ms 1000 --check --seed 2 --results results/20261121-failover/runs/failover-kill/quorate-native/02
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.166 --pause-secs 3 --timeout-ms 1000 --check --seed 3 --results results/20261121-failover/runs/failover-kill/quorate-native/03
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.514 --pause-secs 3 --timeout-ms 1000 --check --seed 4 --results results/20261121-failover/runs/failover-kill/quorate-native/04
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.600 --pause-secs 3 --timeout-ms 1000 --check --seed 5 --results results/20261121-failover/runs/failover-kill/quorate-native/05
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.136 --pause-secs 3 --timeout-ms 1000 --check --seed 6 --results results/20261121-failover/runs/failover-kill/quorate-native/06
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.711 --pause-secs 3 --timeout-ms 1000 --check --seed 7 --results results/20261121-failover/runs/failover-kill/quorate-native/07
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.879 --pause-secs 3 --timeout-ms 1000 --check --seed 8 --results results/20261121-failover/runs/failover-kill/quorate-native/08
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.823 --pause-secs 3 --timeout-ms 1000 --check --seed 9 --results results/20261121-failover/runs/failover-kill/quorate-native/09
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.461 --pause-secs 3 --timeout-ms 1000 --check --seed 10 --results results/20261121-failover/runs/failover-kill/quorate-native/10
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.466 --pause-secs 3 --timeout-ms 1000 --check --seed 11 --results results/20261121-failover/runs/failover-kill/quorate-native/11
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.459 --pause-secs 3 --timeout-ms 1000 --check --seed 12 --results results/20261121-failover/runs/failover-kill/quorate-native/12
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.509 --pause-secs 3 --timeout-ms 1000 --check --seed 1 --results results/20261121-failover/runs/failover-pause/quorate-native/01
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.124 --pause-secs 3 --timeout-ms 1000 --check --seed 2 --results results/20261121-failover/runs/failover-pause/quorate-native/02
# quorate-native is stopped, DATA removed
