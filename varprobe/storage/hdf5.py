"""HDF5 files whose objects are looked up once: h5netcdf asks for the same few, thousands of times a file."""

from typing import Any

import h5py

__all__ = ["KnownFile"]


class KnownFile(h5py.File):
    """An HDF5 file that caches its objects by name. Removing an object empties the cache."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known: dict[str, Any] = {"/": self}

    def __getitem__(self, name: Any) -> Any:
        if not isinstance(name, str):
            return super().__getitem__(name)
        if name not in self.known:
            self.known[name] = super().__getitem__(name)
        return self.known[name]

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self.known = {"/": self}

    def close(self) -> None:
        """Close it, with all that it kept."""
        self.known = {}
        super().close()
