"""What the operator reads in the terminal while a stack runs."""

from pathlib import Path

from rich.console import Console


class Terminal:
    """The story on standard output, refusals on standard error; plain lines when that is not a terminal."""

    def __init__(self) -> None:
        self._out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def begin(self, data_dir: Path) -> None:
        self._out.print("Tuneway", style="bold", end="")
        self._out.print(f"  {_short(data_dir)}", style="dim")

    def ready(self, part: str, seconds: float, *, again: bool) -> None:
        self._out.print(f"  {part:<12}", end="")
        self._out.print("ready again" if again else "ready", style="green", end="")
        self._out.print(f"  {seconds:.1f} s", style="dim")

    def died(self, part: str, how: str, pause: float) -> None:
        self._out.print(f"  {part:<12}{how}; starting it again in {pause:g} s", style="yellow")

    def left_over(self, parts: list[str]) -> None:
        self._out.print(f"  Stopped what an earlier run had left: {', '.join(parts)}")

    def up(self, url: str, *, logs: Path, admin_key: str | None, model: str | None) -> None:
        """Everything that start-up waits for is ready. `model` says that one is not ready yet."""
        self._out.print()
        self._fact("Console", f"{url}/console")
        self._fact("API", f"{url}/v1")
        self._fact("OpenAI SDK", f"export OPENAI_BASE_URL={url}/v1")
        if admin_key is not None:
            self._fact("Admin key", f"{admin_key}  (shown this once)")
        if model is not None:
            self._fact("Model", f"{model}; the API is up")
        self._fact("Logs", _short(logs))
        self._out.print("\n  Ctrl-C stops everything.", style="dim")

    def stopping(self) -> None:
        self._out.print("\nStopping: calls in progress may finish. Ctrl-C again hurries.")

    def stopped(self) -> None:
        self._out.print("Stopped.")

    def refuse(self, message: str) -> None:
        self._errors.print("tuneway: ", style="bold red", end="")
        self._errors.print(message)

    def _fact(self, name: str, value: str) -> None:
        self._out.print(f"  {name:<12}", style="bold", end="")
        self._out.print(value)


def _short(path: Path) -> str:
    """With ~ for the home directory."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)
