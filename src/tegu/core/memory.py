"""How much memory this process may still take, as Linux tells it."""

from collections.abc import Iterator
from pathlib import Path

_KINDS = (  # of control groups: where they are, their files for limit and use, what of that is cache and can be freed
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that are free on the machine and within the limits of a container; None where nothing says so.

    ``root`` is where ``proc`` and ``sys`` are.
    """
    available = _fields(root / "proc/meminfo").get("MemAvailable:")
    known = [] if available is None else [available * 1024]
    known += [free for folder, *names in _groups(root) if (free := _left(folder, *names)) is not None]
    return max(min(known), 0) if known else None


def _groups(root: Path) -> Iterator[tuple[Path, str, str, str]]:
    """The control groups that this process is in, inner ones first, with the names of their files."""
    lines = [line.split(":", 2) for line in _text(root / "proc/self/cgroup").splitlines()]
    for top, *names in _KINDS:
        own = "memory" if top.endswith("memory") else ""
        paths = [path.strip("/") for _, kinds, path in lines if own in kinds.split(",")]
        for path in map(Path, paths or [""]):
            yield from ((root / top / each, names[0], names[1], names[2]) for each in (path, *path.parents))


def _left(folder: Path, limit: str, use: str, cache: str) -> int | None:
    """What a group may still take, None if it has no limit."""
    numbers = [_text(folder / name).strip() for name in (limit, use)]
    if not all(number.isdigit() for number in numbers):
        return None
    return int(numbers[0]) - int(numbers[1]) + _fields(folder / "memory.stat").get(cache, 0)


def _fields(path: Path) -> dict[str, int]:
    words = [line.split() for line in _text(path).splitlines()]
    return {each[0]: int(each[1]) for each in words if len(each) > 1 and each[1].isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
