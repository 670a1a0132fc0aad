"""What schemathesis cannot know: how an archive looks, and what is nearly one."""

import schemathesis.openapi
from hypothesis import strategies

from world import archive

schemathesis.openapi.media_type(
    "application/zip", strategies.sampled_from([archive(), archive()[:-7], b"", b"PK"]) | strategies.binary(max_size=64))
