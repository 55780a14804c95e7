"""What the command, and never the library, decides for the whole process: where compiled code is kept."""

import os

from varprobe.errors import MachineError

__all__ = ["device_name", "keep_compiled_code"]


def keep_compiled_code() -> None:
    """Keep compiled programs in the user's cache folder, so that the next run of the same shapes does not compile."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's own log, of slow compilation; errors come as exceptions
    import jax
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("varprobe") / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or one that cannot be written to: it is only slower
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def device_name() -> str:
    """`cpu`, or the accelerator's own name.

    Raises:
        MachineError: jax finds no device that it can use.
    """
    import jax

    try:
        device = jax.devices()[0]
    except RuntimeError as error:
        raise MachineError(f"jax finds no device: {error}") from error
    return device.platform if device.platform == "cpu" else device.device_kind
