"""`python -m bench`: what authsome costs, as ratios measured in one run (method: docs/performance.md)."""
