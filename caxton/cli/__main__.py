"""`python -m caxton.cli`: the same as the command `caxton`."""

from caxton.cli.main import main

if __name__ == "__main__":
    main()
