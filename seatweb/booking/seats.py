"""Get a seat or a booking, or raise the error that says why it is not available."""

from __future__ import annotations

from seatweb.booking import queries
from seatweb.booking.errors import AlreadyCancelled, BookingNotFound, SeatClosed, SeatNotFound
from seatweb.booking.model import Booking
from seatweb.booking.queries import LockedBooking, SeatInSection
from seatweb.storage.statements import Statements


async def get_seat(sql: Statements, seat_id: int) -> SeatInSection:
    """Return a seat.

    Raises:
        SeatNotFound: there is no such seat.
    """
    seat = await queries.find_seat(sql, seat_id)
    if seat is None:
        raise SeatNotFound
    return seat


async def get_open_seat(sql: Statements, seat_id: int) -> SeatInSection:
    """Return a seat that is not closed.

    Raises:
        SeatNotFound: there is no such seat.
        SeatClosed: nobody can book it.
    """
    found = await get_seat(sql, seat_id)
    if found.seat.closed:
        raise SeatClosed
    return found


async def get_booking(sql: Statements, booking_id: int, user_id: int) -> Booking:
    """Return one of the user's bookings, whatever its status.

    Raises:
        BookingNotFound: the user has no such booking.
    """
    booking = await queries.find_booking(sql, booking_id, user_id)
    if booking is None:
        raise BookingNotFound
    return booking


async def lock_booking(sql: Statements, booking_id: int, user_id: int) -> LockedBooking:
    """Lock one of the user's bookings, whatever its status, until the transaction ends.

    Raises:
        BookingNotFound: the user has no such booking.
    """
    booking = await queries.lock_booking(sql, booking_id, user_id)
    if booking is None:
        raise BookingNotFound
    return booking


async def lock_confirmed_booking(sql: Statements, booking_id: int, user_id: int) -> LockedBooking:
    """Do the same for a confirmed booking.

    Raises:
        BookingNotFound: the user has no such booking.
        AlreadyCancelled: it is cancelled.
    """
    booking = await lock_booking(sql, booking_id, user_id)
    if booking.status == "cancelled":
        raise AlreadyCancelled
    return booking
