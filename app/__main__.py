"""`python -m app` in a checkout: the command `nonlocal-lens`."""

from nonlocal_lens.app.cli import cli

if __name__ == "__main__":
    cli()
