"""Pages and partials: HTML for people."""
