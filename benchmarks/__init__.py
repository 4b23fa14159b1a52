"""Benchmarks of Seatweb, each compared with its theoretical limit measured in the same run: `python -m benchmarks`."""
