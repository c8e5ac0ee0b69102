"""The `winnow` command: import, train, evaluate, serve, ask and operate (`winnow --help`)."""

from services.command.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
