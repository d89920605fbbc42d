"""`inspect`: a provider's definition, exactly a provider file and nothing else."""

import json

from authsome.cli.client import Daemon, provider_path
from authsome.cli.given import Given
from authsome.cli.output import Output
from authsome.settings import read_home


def run(given: Given, out: Output) -> int:
    """Print the file; its source goes to stderr so that the output can be saved as a provider file."""
    answer = Daemon(read_home()).get(f"/providers/{provider_path(given.word('provider'))}")
    if out.json:
        out.result({"source": answer["source"], "definition": answer["definition"]})
        return 0
    out.note(f"source: {answer['source']}")
    text = str(answer["text"])
    if not text.replace("\n", "").isprintable():
        text = json.dumps(answer["definition"], indent=2)  # the same, in ASCII with escapes
    out.raw(text.rstrip("\n") + "\n")
    return 0
