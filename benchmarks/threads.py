"""How many threads one computation should take: `python -m benchmarks.threads`.

A network on pictures, as a survey measures them, with some threads each: alone, and while others
do the same. Under load the threads of one are in the way of the others.
"""

import os
import subprocess
import sys
import threading
import time

PICTURES = 4
TOGETHER = (1, 4, 12)


def measure(together: int) -> float:
    """Return the seconds a picture takes on average while so many are measured at a time."""
    from nonlocal_lens.app.batch.networks import load
    from nonlocal_lens.app.pictures import FIRST_STREET, rendered_picture
    from nonlocal_lens.app.survey.measure import measure as measure_picture

    pattern = load("streets-dnl")
    picture = rendered_picture(FIRST_STREET)
    networks = [pattern.twin() for _ in range(together)]

    def survey(network, pictures: int) -> None:
        for _ in range(pictures):
            measure_picture("streets-dnl", network, picture, ())

    survey(networks[0], 1)
    threads = [threading.Thread(target=survey, args=(one, PICTURES)) for one in networks]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.monotonic() - began) / (PICTURES * together)


def main() -> None:
    """Measure in a process of its own for every number of threads."""
    if len(sys.argv) > 1:
        print(f"{measure(int(sys.argv[1])):.3f}")
        return
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores; seconds per picture, all together")
    for number in sorted({1, 2, cores, 2 * cores}):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(number),
            "MKL_NUM_THREADS": str(number),
        }
        told = []
        for together in TOGETHER:
            command = [sys.executable, "-m", "benchmarks.threads", str(together)]
            ended = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            )
            told.append(f"{together:2} at a time {float(ended.stdout):6.2f} s")
        print(f"{number} threads each: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
