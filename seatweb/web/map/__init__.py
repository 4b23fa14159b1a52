"""The map of a day, its seats, and the user's bookings."""
