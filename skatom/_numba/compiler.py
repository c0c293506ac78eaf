"""numba's compiler, with copies of callees that belong to their caller alone.

numba compiles a copy of each callee into its caller. The symbols of copies are weak: of all copies
in the process, the linker takes the one that was loaded first, for all callers. The compiler rounds
in an order that suits the surroundings of each copy, so the last bits of a result would depend on
what the process has computed before, and on what it found on disk. Here the copies are private: the
bits that a function computes depend on its own machine code alone.

A callee itself has no machine code, and is not optimised but as a part of its callers. That takes a
third of the time, and the compiler sees each whole: what is called once is inlined.
"""

import hashlib

import llvmlite.binding as llvm
from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult, Flags, compile_result
from numba.core.compiler_machinery import PassManager
from numba.core.typed_passes import NopythonRewrites

from skatom._numba.compilation_time import compilation
from skatom._numba.quick_passes import ArrayRewrites, quick_passes

_CALLEE = "callee"
# for closures, comprehensions, `with`, `literal_unroll` and errors whose arguments are computed:
# loops have none of them, and each pass looks at all variables again
_UNUSED = frozenset({
    "with_lifting", "inline_closure_likes", "Rewrite dynamic raises",
    "make_function_op_code_to_jit_function", "find_literally", "literal_unroll",
    "LiteralPropagation", "dump_parfor_diagnostics",
})  # fmt: skip
# Instructions of a callee before any optimisation: the time of passes of LLVM grows faster than the
# length of a function. A call costs up to 0.3 µs where it hands on many arrays.
_MOST_INLINED = 3500
_helpers = {}


class _Library(JITCodeLibrary):
    def _optimize_functions(self, ll_module):
        """The first passes over what was lowered, the few that make it short.

        numba runs all passes here. They are for the function with its callees, and run on it.
        """
        ll_module.data_layout = self._codegen._data_layout
        builder, passes = self._codegen._pass_builder(), llvm.create_new_function_pass_manager()
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        for function in ll_module.functions:
            if not function.is_declaration:
                passes.run(function, builder)


class SelfContainedLibrary(_Library):
    """Machine code of a function and of private copies of the functions that it calls."""

    def _optimize_final_module(self):
        _make_private(self._final_module)
        super()._optimize_final_module()


class CalleeLibrary(_Library):
    """A function that others are compiled with, and copies of the functions that it calls.

    Those of this package have names of their own and are merged in a common caller. Those of numba
    are private, since their names in one process may be those of other functions in the next.
    Long ones are called where LLVM would make one function of all that an entry needs.
    """

    def add_ir_module(self, ir_module):
        """Take what was lowered."""
        for function in ir_module.functions:
            if sum(len(block.instructions) for block in function.blocks) > _MOST_INLINED:
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)

    def finalize(self):
        """Link the functions that this one calls."""
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        _make_private(self._final_module, but="_ZN6skatom")
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = Linkage.linkonce_odr
        self._final_module.verify()
        self._finalize_dynamic_globals()
        # a module that was written and read lists the uses of values in another order, which some
        # passes follow: callers get the one that later processes read
        self._bitcode = self._final_module.as_bitcode()
        self._final_module = llvm.parse_bitcode(self._bitcode)
        self._finalized = True

    def _get_module_for_linking(self):
        self._ensure_finalized()
        return self._final_module

    def get_pointer_to_function(self, name):
        """There is no machine code."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self):
        """As of other libraries, but there is no place for an address of the environment."""
        return _WithoutEnvironments(self._codegen)

    def serialize_using_object_code(self):
        """What `restore` takes."""
        self._ensure_finalized()
        return self.name, _CALLEE, self._bitcode


class _WithoutEnvironments:
    def __init__(self, codegen):
        self._codegen = codegen

    def __getattr__(self, name):
        return getattr(self._codegen, name)

    def set_env(self, name, environment):
        """The environment is for errors whose arguments are computed, and for objects of Python."""


def _make_private(module, but=None):
    # a pass of numba knows the functions that count references by their names, and private
    # functions are renamed where several modules have them
    kept = ("NRT_",) if but is None else ("NRT_", but)
    for function in module.functions:
        if function.linkage == Linkage.linkonce_odr and not function.name.startswith(kept):
            function.linkage = Linkage.internal


class QuickFlags(Flags):
    """numba's settings of a compilation, which it compares for each operation that it types.

    It looks up helpers such as ``numpy.empty`` by them. These inherit none of the settings of the
    way from Python, which are left out, so a callee and an entry share their helpers. All settings
    have the same hash in numba, too.
    """

    _HASH = hash(Flags())
    _FROM_PYTHON = frozenset({"no_cpython_wrapper", "no_cfunc_wrapper", "release_gil"})

    def __hash__(self):
        return self._HASH

    def __eq__(self, other):
        if not isinstance(other, Flags):
            return NotImplemented
        one, two = self._values, other._values
        for name in (one.keys() | two.keys()) - self._FROM_PYTHON:
            default = self.options[name].default
            if one.get(name, default) != two.get(name, default):
                return False
        return True

    def get_mangle_string(self):
        """The part of a function's name that is for its settings, the same in every process.

        numba's has sets, such as that of fast-math, in the order of their hashes.
        """
        settings = [(name, getattr(value, "flags", value)) for name, value in self._summary_args()]
        ordered = [(n, sorted(v) if isinstance(v, set) else str(v)) for n, v in settings]
        return hashlib.sha256(repr(ordered).encode()).hexdigest()[:16]


class SelfContainedCompiler(Compiler):
    """numba's compiler, which makes a `SelfContainedLibrary`, or of a callee a `CalleeLibrary`."""

    def compile_extra(self, func):
        """Compile a function of Python."""
        self.state.flags = QuickFlags(self.state.flags)
        # numba keeps some helpers, such as powers, with the fast-math of whoever needed them first
        helpers = _helpers.setdefault(self.state.flags.copy(), {})
        self.state.targetctx.cached_internal_func = helpers
        library = CalleeLibrary if self._is_callee() else SelfContainedLibrary
        self.state.library = library(self.state.targetctx.codegen(), func.__qualname__)
        self.state.library.enable_object_caching()
        with compilation, quick_passes():
            result = super().compile_extra(func)
        self._check_references(func, result.signature.return_type)
        return result

    def _check_references(self, func, returned):
        """TypeError for arrays that leave a function without counted references."""
        holds_arrays = self.state.targetctx.data_model_manager[returned].contains_nrt_meminfo()
        if holds_arrays and not self.state.flags.nrt:
            raise TypeError(f"{func.__qualname__} returns {returned}: declare allocates=True")

    def define_pipelines(self):
        """numba's passes but those that loops do not need."""
        (whole,) = super().define_pipelines()
        quick = PassManager(whole.pipeline_name)
        quick.passes = [
            (ArrayRewrites if kind is NopythonRewrites else kind, text)
            for kind, text in whole.passes
            if kind._name not in _UNUSED
        ]
        quick.finalize()
        return [quick]

    def _is_callee(self):
        return self.state.flags.no_cpython_wrapper

    def _compile_bytecode(self):
        """Compile; the name of a callee is the same in every process, unlike numba's."""
        identity = self.state.func_id
        if self._is_callee() and "<locals>" not in identity.func_qualname:
            identity.unique_id = 0
            identity.unique_name = f"{identity.func_qualname}$0"
        return super()._compile_bytecode()


def restore(target_context, libdata, *rest):
    """The compile result whose `CompileResult._reduce` is given."""
    name, kind, bitcode = libdata
    if kind != _CALLEE:
        return CompileResult._rebuild(target_context, libdata, *rest)
    fndesc, environment, signature, objectmode, lifted, annotation, reload_init, _ = rest
    for function in reload_init:
        function()
    library = CalleeLibrary(target_context.codegen(), name)
    library._bitcode, library._final_module = bitcode, llvm.parse_bitcode(bitcode)
    library._finalized = True
    return compile_result(
        typing_context=target_context.typing_context, target_context=target_context,
        entry_point=target_context.get_executable(library, fndesc, environment),
        type_annotation=annotation, signature=signature, objectmode=objectmode, lifted=lifted,
        fndesc=fndesc, library=library, environment=environment, reload_init=reload_init,
    )  # fmt: skip
