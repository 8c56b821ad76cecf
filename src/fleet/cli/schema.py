"""`fleet schema`."""


def schema() -> None:
    """Print the JSON Schema of what `fleet status --json` prints."""
    import msgspec

    from fleet.cli.terminal import write
    from fleet.views.document import json_schema

    write(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2) + b"\n")
