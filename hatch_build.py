"""Compiles the kernels (imapids/kernels) when the package is built or installed; without a compiler it goes on without.

`python hatch_build.py` compiles them in place, for those who work on them. IMAPIDS_KERNELS=0 leaves them out.
"""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # compiled by hand, where hatchling need not be installed
    BuildHookInterface = object  # type: ignore[assignment, misc]

FOLDER = Path("imapids", "kernels")


def compile_kernels(root: Path) -> list[Path]:
    """Compiles every kernel beside its source; returns the shared objects.

    Raises what Cython, setuptools and the compiler raise; ImportError where Cython or setuptools is missing.
    """
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    stamp = runpy.run_path(str(root / FOLDER / "stamp.py"))["stamp_of"](root / FOLDER)
    before = Path.cwd()
    os.chdir(root)
    try:
        with tempfile.TemporaryDirectory(prefix="imapids-kernels-") as made:
            flags = ["/O2"] if sys.platform == "win32" else ["-O3"]
            extensions = [Extension(".".join(source.with_suffix("").parts), [str(source)], extra_compile_args=flags,
                                    define_macros=[("IMAPIDS_STAMP", f'"{stamp}"')])
                          for source in sorted(FOLDER.glob("*.pyx"))]
            distribution = Distribution({"name": "imapids", "packages": ["imapids", "imapids.kernels"],
                                         "ext_modules": cythonize(extensions, build_dir=made, quiet=True)})
            build = distribution.get_command_obj("build_ext")
            build.inplace, build.build_temp, build.parallel = True, made, 2
            build.ensure_finalized()
            build.run()
            return [root / build.get_ext_fullpath(extension.name) for extension in extensions]
    finally:
        os.chdir(before)


class KernelHook(BuildHookInterface):  # type: ignore[misc, valid-type]
    """Compiles the kernels for wheels and editable installs."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's interface
        """Called before the files of the wheel are gathered."""
        if self.target_name != "wheel" or os.environ.get("IMAPIDS_KERNELS") == "0":
            return
        try:
            made = compile_kernels(Path(self.root))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # compilers fail in many ways
            self.app.display_warning(f"imapids: no compiled kernels ({type(error).__name__}: {error}); the results are "
                                     "the same without them, and large captures take longer")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"] += [str(path.relative_to(self.root)) for path in made]


if __name__ == "__main__":
    for path in compile_kernels(Path(__file__).parent.resolve()):
        print(path)  # noqa: T201  # a script
