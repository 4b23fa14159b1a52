"""Book, hold, move and cancel seats, and what a day looks like."""
