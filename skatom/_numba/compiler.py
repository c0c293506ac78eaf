"""numba's compiler, with copies of callees that belong to their caller alone.

numba compiles a copy of each callee into its caller. The symbols of copies are weak: of all copies
in the process, the linker takes the one that was loaded first, for all callers. The compiler rounds
in an order that suits the surroundings of each copy, so the last bits of a result would depend on
what the process has computed before, and on what it found on disk. Here the copies are private: the
bits that a function computes depend on its own machine code alone.
"""

from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from skatom._numba.compilation_time import compilation


class SelfContainedLibrary(JITCodeLibrary):
    """Machine code of a function and of private copies of the functions that it calls."""

    def _optimize_final_module(self):
        super()._optimize_final_module()
        for function in self._final_module.functions:
            # a pass of numba knows the functions that count references by their names, and private
            # functions are renamed where several modules have them
            if function.linkage == Linkage.linkonce_odr and not function.name.startswith("NRT_"):
                function.linkage = Linkage.internal


class SelfContainedCompiler(Compiler):
    """numba's compiler, which makes a `SelfContainedLibrary`."""

    def compile_extra(self, func):
        library = SelfContainedLibrary(self.state.targetctx.codegen(), func.__qualname__)
        library.enable_object_caching()
        self.state.library = library
        with compilation:
            return super().compile_extra(func)
