"""``python -m spectro``: the command line, where no ``spectro`` is on the path."""

from spectro.cli.app import main

if __name__ == "__main__":
    main()
