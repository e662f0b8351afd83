"""The report of a run: one HTML file that needs nothing else.

``facts`` computes what the page says, ``health`` and ``origin`` add the data's condition and where
everything comes from, ``choose`` picks the clips to show, ``evidence`` makes pictures and sounds of
them, ``charts`` draws, ``page`` fills the template, and ``write`` does it all.
"""
