"""`python -m hl7bridge` is the command `hl7bridge`."""

from hl7bridge.cli.main import run

if __name__ == "__main__":
    run()
