#!/bin/sh
scripts/bench-steady --bin target/release
