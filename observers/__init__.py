"""What watches the other floors: the ``understudy`` command."""

import observers._foundation  # noqa: F401  # pyright: ignore[reportUnusedImport]

__all__: list[str] = []
