"""The ``spectro`` command line: parse, call, print. A file for each part of the work."""

import os

# Our settings use none, and to look for them takes a tenth of the time in which a file is named.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
