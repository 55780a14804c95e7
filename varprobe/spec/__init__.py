"""The call form of requests, `name(key=value)`, their values, and files of the user's."""
