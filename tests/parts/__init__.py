"""Real counterparts for the tests: authorization servers, a person, a browser, a private internet."""
