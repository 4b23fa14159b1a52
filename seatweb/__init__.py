"""Seatweb: book your seat for the day."""

__version__ = "0.1.0"
