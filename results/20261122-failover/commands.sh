#!/bin/sh
# Every command in order, from the top of the repository.
scripts/bench-failover --bin target/release
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.776 --pause-secs 3 --timeout-ms 1000 --check --seed 1 --results results/20261122-failover/runs/failover-kill/quorate-native/01
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.966 --pause-secs 3 --timeout-ms 1000 --check --seed 2 --results results/20261122-failover/runs/failover-kill/quorate-native/02
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.557 --pause-secs 3 --timeout-ms 1000 --check --seed 3 --results results/20261122-failover/runs/failover-kill/quorate-native/03
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.904 --pause-secs 3 --timeout-ms 1000 --check --seed 4 --results results/20261122-failover/runs/failover-kill/quorate-native/04
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.239 --pause-secs 3 --timeout-ms 1000 --check --seed 5 --results results/20261122-failover/runs/failover-kill/quorate-native/05
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.778 --pause-secs 3 --timeout-ms 1000 --check --seed 6 --results results/20261122-failover/runs/failover-kill/quorate-native/06
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.364 --pause-secs 3 --timeout-ms 1000 --check --seed 7 --results results/20261122-failover/runs/failover-kill/quorate-native/07
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.640 --pause-secs 3 --timeout-ms 1000 --check --seed 8 --results results/20261122-failover/runs/failover-kill/quorate-native/08
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.567 --pause-secs 3 --timeout-ms 1000 --check --seed 9 --results results/20261122-failover/runs/failover-kill/quorate-native/09
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.457 --pause-secs 3 --timeout-ms 1000 --check --seed 10 --results results/20261122-failover/runs/failover-kill/quorate-native/10
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.519 --pause-secs 3 --timeout-ms 1000 --check --seed 11 --results results/20261122-failover/runs/failover-kill/quorate-native/11
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.287 --pause-secs 3 --timeout-ms 1000 --check --seed 12 --results results/20261122-failover/runs/failover-kill/quorate-native/12
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.256 --pause-secs 3 --timeout-ms 1000 --check --seed 13 --results results/20261122-failover/runs/failover-kill/quorate-native/13
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.807 --pause-secs 3 --timeout-ms 1000 --check --seed 14 --results results/20261122-failover/runs/failover-kill/quorate-native/14
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.647 --pause-secs 3 --timeout-ms 1000 --check --seed 15 --results results/20261122-failover/runs/failover-kill/quorate-native/15
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.552 --pause-secs 3 --timeout-ms 1000 --check --seed 16 --results results/20261122-failover/runs/failover-kill/quorate-native/16
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.439 --pause-secs 3 --timeout-ms 1000 --check --seed 17 --results results/20261122-failover/runs/failover-kill/quorate-native/17
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.392 --pause-secs 3 --timeout-ms 1000 --check --seed 18 --results results/20261122-failover/runs/failover-kill/quorate-native/18
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.995 --pause-secs 3 --timeout-ms 1000 --check --seed 19 --results results/20261122-failover/runs/failover-kill/quorate-native/19
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.541 --pause-secs 3 --timeout-ms 1000 --check --seed 20 --results results/20261122-failover/runs/failover-kill/quorate-native/20
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.213 --pause-secs 3 --timeout-ms 1000 --check --seed 21 --results results/20261122-failover/runs/failover-kill/quorate-native/21
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.581 --pause-secs 3 --timeout-ms 1000 --check --seed 22 --results results/20261122-failover/runs/failover-kill/quorate-native/22
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.131 --pause-secs 3 --timeout-ms 1000 --check --seed 23 --results results/20261122-failover/runs/failover-kill/quorate-native/23
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.673 --pause-secs 3 --timeout-ms 1000 --check --seed 24 --results results/20261122-failover/runs/failover-kill/quorate-native/24
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.430 --pause-secs 3 --timeout-ms 1000 --check --seed 25 --results results/20261122-failover/runs/failover-kill/quorate-native/25
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.497 --pause-secs 3 --timeout-ms 1000 --check --seed 26 --results results/20261122-failover/runs/failover-kill/quorate-native/26
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.502 --pause-secs 3 --timeout-ms 1000 --check --seed 27 --results results/20261122-failover/runs/failover-kill/quorate-native/27
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.293 --pause-secs 3 --timeout-ms 1000 --check --seed 28 --results results/20261122-failover/runs/failover-kill/quorate-native/28
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.180 --pause-secs 3 --timeout-ms 1000 --check --seed 29 --results results/20261122-failover/runs/failover-kill/quorate-native/29
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.200 --pause-secs 3 --timeout-ms 1000 --check --seed 30 --results results/20261122-failover/runs/failover-kill/quorate-native/30
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.219 --pause-secs 3 --timeout-ms 1000 --check --seed 31 --results results/20261122-failover/runs/failover-kill/quorate-native/31
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.146 --pause-secs 3 --timeout-ms 1000 --check --seed 32 --results results/20261122-failover/runs/failover-kill/quorate-native/32
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.445 --pause-secs 3 --timeout-ms 1000 --check --seed 33 --results results/20261122-failover/runs/failover-kill/quorate-native/33
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.475 --pause-secs 3 --timeout-ms 1000 --check --seed 34 --results results/20261122-failover/runs/failover-kill/quorate-native/34
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.615 --pause-secs 3 --timeout-ms 1000 --check --seed 35 --results results/20261122-failover/runs/failover-kill/quorate-native/35
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.323 --pause-secs 3 --timeout-ms 1000 --check --seed 36 --results results/20261122-failover/runs/failover-kill/quorate-native/36
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.271 --pause-secs 3 --timeout-ms 1000 --check --seed 37 --results results/20261122-failover/runs/failover-kill/quorate-native/37
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.942 --pause-secs 3 --timeout-ms 1000 --check --seed 38 --results results/20261122-failover/runs/failover-kill/quorate-native/38
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.240 --pause-secs 3 --timeout-ms 1000 --check --seed 39 --results results/20261122-failover/runs/failover-kill/quorate-native/39
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.748 --pause-secs 3 --timeout-ms 1000 --check --seed 40 --results results/20261122-failover/runs/failover-kill/quorate-native/40
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.450 --pause-secs 3 --timeout-ms 1000 --check --seed 41 --results results/20261122-failover/runs/failover-kill/quorate-native/41
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.367 --pause-secs 3 --timeout-ms 1000 --check --seed 42 --results results/20261122-failover/runs/failover-kill/quorate-native/42
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.709 --pause-secs 3 --timeout-ms 1000 --check --seed 43 --results results/20261122-failover/runs/failover-kill/quorate-native/43
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.919 --pause-secs 3 --timeout-ms 1000 --check --seed 44 --results results/20261122-failover/runs/failover-kill/quorate-native/44
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.921 --pause-secs 3 --timeout-ms 1000 --check --seed 45 --results results/20261122-failover/runs/failover-kill/quorate-native/45
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.773 --pause-secs 3 --timeout-ms 1000 --check --seed 46 --results results/20261122-failover/runs/failover-kill/quorate-native/46
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.194 --pause-secs 3 --timeout-ms 1000 --check --seed 47 --results results/20261122-failover/runs/failover-kill/quorate-native/47
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.568 --pause-secs 3 --timeout-ms 1000 --check --seed 48 --results results/20261122-failover/runs/failover-kill/quorate-native/48
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.606 --pause-secs 3 --timeout-ms 1000 --check --seed 49 --results results/20261122-failover/runs/failover-kill/quorate-native/49
loadgen run --target native --cluster DATA/cluster.json --secs 4 --warmup 1 --ceiling 0 --workload failover-kill --fault kill --fault-at 1.386 --pause-secs 3 --timeout-ms 1000 --check --seed 50 --results results/20261122-failover/runs/failover-kill/quorate-native/50
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.625 --pause-secs 3 --timeout-ms 1000 --check --seed 1 --results results/20261122-failover/runs/failover-pause/quorate-native/01
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.103 --pause-secs 3 --timeout-ms 1000 --check --seed 2 --results results/20261122-failover/runs/failover-pause/quorate-native/02
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.833 --pause-secs 3 --timeout-ms 1000 --check --seed 3 --results results/20261122-failover/runs/failover-pause/quorate-native/03
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.670 --pause-secs 3 --timeout-ms 1000 --check --seed 4 --results results/20261122-failover/runs/failover-pause/quorate-native/04
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.252 --pause-secs 3 --timeout-ms 1000 --check --seed 5 --results results/20261122-failover/runs/failover-pause/quorate-native/05
# quorate-native is stopped, DATA removed
quorate dev --nodes 3 --data DATA --port-offset 16000 &
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.708 --pause-secs 3 --timeout-ms 1000 --check --seed 6 --results results/20261122-failover/runs/failover-pause/quorate-native/06
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.732 --pause-secs 3 --timeout-ms 1000 --check --seed 7 --results results/20261122-failover/runs/failover-pause/quorate-native/07
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.167 --pause-secs 3 --timeout-ms 1000 --check --seed 8 --results results/20261122-failover/runs/failover-pause/quorate-native/08
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.469 --pause-secs 3 --timeout-ms 1000 --check --seed 9 --results results/20261122-failover/runs/failover-pause/quorate-native/09
loadgen run --target native --cluster DATA/cluster.json --secs 6 --warmup 1 --ceiling 0 --workload failover-kill --fault pause --fault-at 1.369 --pause-secs 3 --timeout-ms 1000 --check --seed 10 --results results/20261122-failover/runs/failover-pause/quorate-native/10
# quorate-native is stopped, DATA removed
