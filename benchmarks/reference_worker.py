"""Measures a checkout of the published PyTorch LieTransformer, as its own process.

:mod:`benchmarks.reference_process` starts it in the Python of the user's choice, so it imports
neither eqattn nor jax. It reads one JSON object a line and answers each with one:

===============================================  ==================================================
``{"prepare": workload, "memory_limit": bytes}``  ``{"programs": [names], "peak_bytes": n, …}``
``{"measure": name}``                             ``{"milliseconds": processor time of one call}``
===============================================  ==================================================

or with ``{"failed": reason}``, such as memory that is not to be had.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from benchmarks.reference_imports import import_from

Programs = dict[str, Callable[[], Any]]
EXPECTED = (MemoryError, RuntimeError)  # torch raises RuntimeError for lack of memory


def serve(
    requests: TextIO, replies: TextIO, build: Callable[[dict[str, Any]], tuple[Programs, dict]]
) -> None:
    """Answers requests until they end.

    Args:
      requests: Lines of JSON.
      replies: Where the answers go.
      build: Turns a workload into programs, and what is to be told about them.
    """
    programs: Programs = {}
    for line in requests:
        request = json.loads(line)
        try:
            if "prepare" in request:
                limit_memory(request["memory_limit"])
                programs, facts = build(request["prepare"])
                reply = {"programs": list(programs), "peak_bytes": peak_bytes(programs), **facts}
            else:
                reply = {"milliseconds": processor_ms(programs[request["measure"]])}
        except EXPECTED as error:
            reply = {"failed": (str(error).strip() or type(error).__name__).splitlines()[0]}
        print(json.dumps(reply), file=replies, flush=True)


def processor_ms(program: Callable[[], Any]) -> float:
    """Processor time of all threads that one call takes."""
    start = time.process_time()
    program()
    return 1e3 * (time.process_time() - start)


def peak_bytes(programs: Programs) -> int:
    """How far resident memory rises while each program runs for the first time."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak so far is forgotten, which importing has made high
    before = memory("VmRSS")
    for program in programs.values():
        program()
    return memory("VmHWM") - before


def limit_memory(num_bytes: int) -> None:
    """Lets this process allocate so much more than it has; beyond that, it gets an error."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory("VmData") + num_bytes, hard))


def memory(name: str) -> int:
    """Bytes of an entry of /proc/self/status."""
    with open("/proc/self/status") as file:
        entries = dict(line.split(":", 1) for line in file)
    return 1024 * int(entries[name].split()[0])


def main() -> None:
    """Serves stdin; what the checkout prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Here, as it imports torch, which tests do without; and before what import_from changes.
    from benchmarks.reference_programs import build

    import_from(sys.argv[1])
    serve(sys.stdin, replies, build)


if __name__ == "__main__":
    main()
