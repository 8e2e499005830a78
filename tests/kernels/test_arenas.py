"""Python's small objects on large pages: in processes of their own, for it is for good."""

import subprocess
import sys

import pytest

from imapids import kernels

pytestmark = [pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled"),
              pytest.mark.skipif(sys.platform != "linux", reason="large pages are asked of Linux"),
              pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", bool)() and sys.version_info >= (3, 13),
                                 reason="this build has another allocator")]

BEGIN = """
import gc, os, sys
from imapids.kernels import events
assert events.arenas_on_large_pages() == (0, 0)
assert events.use_large_pages() and events.use_large_pages()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def records():
    return [(number, str(number)) for number in range(300_000)]
"""


@pytest.mark.parametrize("program", [
    pytest.param("""
made = records()
used, there = events.arenas_on_large_pages()
assert used * 2**20 > 30 * 10**6 and there - used < 8 * 4, (used, there)
assert sum(number for number, _ in made) == sum(int(text) for _, text in made)
""", id="objects live there"),
    pytest.param("""
made = records()
full, most = resident(), events.arenas_on_large_pages()
del made
assert resident() < full - 25 * 10**6
assert events.arenas_on_large_pages()[0] < most[0] // 4
for _ in range(3):
    made = records()
    assert events.arenas_on_large_pages()[1] == most[1]
    assert resident() < full + 4 * 10**6
    del made
""", id="pages are given back, and taken again for the next objects"),
    pytest.param("""
made = [records() for _ in range(3)]
for some in made:
    del some[::2], some[5::7]
assert all(str(number) == text for some in made for number, text in some)
made += [records()]
assert all(str(number) == text for some in made for number, text in some)
""", id="objects among freed ones stay whole"),
    pytest.param("""
sys.setrecursionlimit(40_000)
def deep(depth):
    return depth and deep(depth - 1)
for _ in range(3):
    assert deep(30_000) == 0
    made = records()
""", id="frames of deep calls have memory of their own"),
    pytest.param("""
made = records()
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
else:
    del made
    made = records()
    os._exit(0 if all(str(number) == text for number, text in made) else 1)
assert all(str(number) == text for number, text in made)
""", id="a forked process has its own"),
])
def test_small_objects_live_on_large_pages(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
