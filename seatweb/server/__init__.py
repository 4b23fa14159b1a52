"""Start and stop Seatweb: worker processes, the try-out mode's embedded servers, and the operator's commands."""
