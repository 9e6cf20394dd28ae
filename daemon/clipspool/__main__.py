"""The command `clipspool`, also as `python -m clipspool`."""

from clipspool.cli import main

if __name__ == "__main__":
    main()
