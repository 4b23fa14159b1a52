"""HTTP concerns that the HTML pages and the JSON API share: cookies, tokens, CSRF, headers, time limits, logs."""
