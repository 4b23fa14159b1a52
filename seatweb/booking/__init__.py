"""Book, hold, move and cancel seats, and show what a day looks like."""
