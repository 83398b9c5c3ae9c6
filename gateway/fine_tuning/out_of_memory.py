"""Whether the system killed something because its memory was full."""

from pathlib import Path

VMSTAT = Path("/proc/vmstat")


def kills(vmstat: Path = VMSTAT) -> int | None:
    """Processes that Linux has killed for memory since its start, those at the limit of a container included (the
    kernel's mm/oom_kill.c counts both); None where the system does not say."""
    try:
        lines = vmstat.read_text().splitlines()
    except OSError:
        return None
    counts = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(counts[0]) if counts else None
