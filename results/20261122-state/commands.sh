#!/bin/sh
scripts/bench-state --bin target/release
