"""A process of its own for a function: forked from one that has imported torch, so that a start takes no seconds."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess

PROCESSES = multiprocessing.get_context("forkserver")  # a fork of this process would share torch's threads
PROCESSES.set_forkserver_preload(["tests.training.test_loop"])


def start(function: Callable, *arguments) -> BaseProcess:
    """Start a function of a module in a process; it ends with this one."""
    process = PROCESSES.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process
