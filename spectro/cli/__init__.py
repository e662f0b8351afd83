"""The ``spectro`` command line: parse, call, print. A file for each part of the work."""
