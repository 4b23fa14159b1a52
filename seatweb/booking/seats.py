"""Seats and bookings that must be there."""

from __future__ import annotations

from seatweb.booking import queries
from seatweb.booking.errors import BookingNotFound, SeatClosed, SeatNotFound
from seatweb.booking.model import Booking
from seatweb.booking.queries import SeatInSection
from seatweb.storage.statements import Statements


async def known_seat(sql: Statements, seat_id: int) -> SeatInSection:
    """Return a seat.

    Raises:
        SeatNotFound: there is no such seat.
    """
    seat = await queries.find_seat(sql, seat_id)
    if seat is None:
        raise SeatNotFound
    return seat


async def open_seat(sql: Statements, seat_id: int) -> SeatInSection:
    """Return a seat that can be booked.

    Raises:
        SeatNotFound: there is no such seat.
        SeatClosed: nobody can book it.
    """
    found = await known_seat(sql, seat_id)
    if found.seat.closed:
        raise SeatClosed
    return found


async def known_booking(sql: Statements, booking_id: int, user_id: int) -> Booking:
    """Return a booking of the user, whatever its status.

    Raises:
        BookingNotFound: the user has no such booking.
    """
    booking = await queries.find_booking(sql, booking_id, user_id)
    if booking is None:
        raise BookingNotFound
    return booking
