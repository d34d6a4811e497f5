"""Benchmarks: `make bench` prints a table; numbers depend on the machine, ratios less so."""
