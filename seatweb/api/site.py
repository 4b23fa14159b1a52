"""What programs need to know about the site before they book."""

from __future__ import annotations

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.response import Response

from seatweb.api.problems import REFUSED
from seatweb.api.schemas import SiteOut
from seatweb.booking.window import BookingWindow
from seatweb.settings import Settings


class SiteController(Controller):
    """The site's time zone, and the days that can be booked."""

    tags = ["Site"]  # noqa: RUF012
    security = []  # noqa: RUF012
    opt = {"for_everyone": True}  # noqa: RUF012

    @get("/site", operation_id="getSite", responses=REFUSED)
    async def site(
        self, settings: NamedDependency[Settings], window: NamedDependency[BookingWindow]
    ) -> Response[SiteOut]:
        """Return the site's name, time zone and days."""
        site = SiteOut(
            name=settings.site_name, time_zone=settings.time_zone, today=window.today(), last_day=window.last_day
        )
        return Response(site, headers={"cache-control": "no-store"})
