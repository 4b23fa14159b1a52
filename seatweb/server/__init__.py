"""Start and stop Seatweb: worker processes, demo mode's embedded servers, and the operator's commands."""
