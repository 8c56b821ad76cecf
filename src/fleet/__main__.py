"""`fleet` and `python -m fleet`."""

from fleet.cli.app import main

if __name__ == "__main__":
    main()
