"""The placeholder: what a child holds instead of a secret."""

# `authsome-proxy-managed:work` asks for the connection `work`.
PLACEHOLDER = "authsome-proxy-managed"
