performance { raft_multiplier = 1 }
limits { http_max_conns_per_client = 10000 }
connect { enabled = false }
disable_update_check = true
