"""The map of a day, its seats, and "My bookings"."""
