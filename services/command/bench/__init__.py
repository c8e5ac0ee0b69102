"""The open-loop load generator behind `winnow bench`."""
