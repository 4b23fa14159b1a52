"""How fast Seatweb is, measured against the limit of each thing in the same run: `python -m benchmarks`."""
