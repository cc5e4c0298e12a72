"""What is done again and again beside all else."""

import threading
import time
from collections.abc import Callable


def again_and_again(do: Callable[[], object], seconds: float, name: str) -> None:
    """Do something after every so many seconds, in a thread that ends with the process."""

    def repeat() -> None:
        while True:
            time.sleep(seconds)
            do()

    threading.Thread(target=repeat, name=name, daemon=True).start()
