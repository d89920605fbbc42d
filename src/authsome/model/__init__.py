"""The nouns: frozen values that know nothing of files, sockets or clocks."""
