"""The vault: where credentials are kept sealed, and the key they are sealed with."""
