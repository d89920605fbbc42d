"""The injecting proxy: `rules` decide and are pure, `engine` moves bytes."""
