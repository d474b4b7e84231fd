"""The command `afd`: guarded against interruptions before anything slow is imported."""

import sys

from afd_study.study.workflow.faults import memory_fault
from afd_study.study.workflow.interruption import guarded, leave


def main() -> None:
    """Run the command line: 0, 2 for a fault of the user's, 1 for one of the machine's, 128 and a signal."""
    with guarded():
        try:
            from afd_study.study.commands import run_command_line  # seconds

            run_command_line()
        except Exception as fault:
            message = memory_fault(fault)
            if message is None:
                raise
            print(f"afd: {message}", file=sys.stderr, flush=True)
            leave(1)  # what libraries do at the end would lack memory as well, and say so


if __name__ == "__main__":
    main()
