"""HTML for people: pages and partials."""
