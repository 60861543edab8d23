"""``python -m clipper.loadgen``: one process of the load generator, started by `clipper.loadgen.processes`."""

from clipper.loadgen.worker import main

if __name__ == "__main__":
    main()
