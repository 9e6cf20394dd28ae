"""Mutates the paid path one line at a time, and names each mutation that no test notices.

Usage: python tests/faults/mutants.py [--count 60] [--seed 1] [--only MODULE] [--near] [--list]

A mutation is drawn by lot: an even share for each module of `PATH`. It is planted into a copy of the program;
the tests that stand nearest run first, then all that are quick, then the journeys and faults. A survivor is a
missing test, or a line that changes nothing: look at each one.
"""

import argparse
import ast
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults.bugs import PACKAGE, TREE, copied

PATH = {
    "clipspool.stages.submit": ("stages_submit", "scheduler"),
    "clipspool.stages.prepare": ("stages_prepare", "stages_submit"),
    "clipspool.stages.changed": ("stages_prepare", "stages_split", "source_changed"),
    "clipspool.stages.poll": ("stages_submit",),
    "clipspool.stages.fetch": ("stages_deliver",),
    "clipspool.stages.deliver": ("stages_deliver",),
    "clipspool.stages.reuse": ("stages_reuse",),
    "clipspool.stages.split": ("stages_split", "parts"),
    "clipspool.provider.runway.post": ("runway", "wire"),
    "clipspool.provider.runway.refusals": ("whose_fault", "answers", "runway"),
    "clipspool.provider.runway.answers": ("answers", "runway"),
    "clipspool.spool.ledger": ("send_marks", "stages_submit", "adopt", "stages_retire"),
    "clipspool.spool.send_marks": ("send_marks", "stages_submit"),
    "clipspool.jobs.lifecycle": ("lifecycle", "scheduler", "scheduler_machine"),
    "clipspool.jobs.effects": ("lifecycle", "scheduler", "scheduler_machine"),
    "clipspool.jobs.effects_paid": ("lifecycle", "scheduler", "scheduler_machine"),
    "clipspool.jobs.splitting": ("splitting", "parts"),
    "clipspool.scheduler.loop": ("scheduler", "scheduler_machine"),
    "clipspool.scheduler.parts": ("parts",),
    "clipspool.scheduler.commands": ("scheduler", "parts", "attaching"),
    "clipspool.scheduler.cut_short": ("scheduler",),
    "clipspool.scheduler.dedup": ("duplicates", "scheduler"),
    "clipspool.scheduler.recorder": ("scheduler", "duplicates", "parts"),
    "clipspool.scheduler.short_of_credits": ("short_of_credits",),
    "clipspool.provider.addresses": ("addresses", "gateway", "follows"),
    "clipspool.app.gateway": ("gateway",),
    "clipspool.scheduler.restore_guard": ("trust", "backup"),
    "clipspool.scheduler.restore_marks": ("trust", "backup"),
    "clipspool.farm.lease": ("lease",),
    "clipspool.farm.membership": ("lease",),
    "clipspool.farm.orders": ("orders",),
    "clipspool.scheduler.retirement": ("stages_retire", "scheduler"),
    "clipspool.spool.checked_folder": ("files", "claim", "stages_deliver"),
    "clipspool.spool.root": ("files", "claim", "stages_deliver"),
    "clipspool.system.atomic": ("files", "claim", "stages_deliver"),
    "clipspool.system.moves": ("moves", "files", "claim"),
    "clipspool.spool.claims": ("claim", "stages_retire", "adopt"),
    "clipspool.spool.workfolder": ("claim", "moves", "stages_retire", "adopt", "inbox"),
    "clipspool.spool.recovery": ("adopt", "stages_retire"),
    "clipspool.spool.handover": ("neighbours", "adopt"),
}
"""Where a wrong line costs money or a clip, and the names of the rules and edges that stand nearest."""
WIDER = (("tests/rules",), ("tests/edges",), ("tests/journeys", "tests/faults"))
SECONDS_MAX = 900
SWAPS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
SPELLED = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
QUIET = {"log", "reach"}
"""Calls whose loss harms neither money nor files: log lines and failpoints."""


@dataclass(frozen=True)
class Mutant:
    module: str
    line: int
    column: int
    end: int
    instead: str

    def of(self, source):
        """Change one line of the module's text."""
        lines = source.split("\n")
        data = lines[self.line - 1].encode()
        lines[self.line - 1] = (data[: self.column] + self.instead.encode() + data[self.end :]).decode()
        return "\n".join(lines)

    def shown(self, source):
        before, after = (text.split("\n")[self.line - 1].strip() for text in (source, self.of(source)))
        return f"{self.module}:{self.line}: {before}  ->  {after}"


def place(module):
    return Path(*module.split(".")[1:]).with_suffix(".py")


def is_quiet(call):
    function = call.func
    while isinstance(function, ast.Attribute):
        function = function.value
    return isinstance(function, ast.Name) and function.id in QUIET


def changes(node, source):
    """Every way in which one node may be wrong: (line, column, end column, what stands there instead)."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if left.end_lineno == right.lineno:
            between = source.split("\n")[right.lineno - 1].encode()[left.end_col_offset : right.col_offset]
            word = SPELLED[type(op)].encode()
            if between.count(word):
                at = left.end_col_offset + between.index(word)
                yield right.lineno, at, at + len(word), SWAPS[type(op)]
        case ast.BoolOp(op=op, values=[first, second, *_]) if first.end_lineno == second.lineno:
            word, other = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
            between = source.split("\n")[second.lineno - 1].encode()[first.end_col_offset : second.col_offset]
            at = first.end_col_offset + between.find(word.encode())
            if word.encode() in between:
                yield second.lineno, at, at + len(word), other
        case ast.UnaryOp(op=ast.Not(), operand=operand) if node.lineno == operand.lineno:
            yield node.lineno, node.col_offset, operand.col_offset, ""
        case ast.If(test=test) | ast.IfExp(test=test) if test.lineno == test.end_lineno:
            if not isinstance(test, ast.Compare | ast.UnaryOp):
                text = ast.get_source_segment(source, test)
                yield test.lineno, test.col_offset, test.end_col_offset, f"(not ({text}))"
        case ast.Expr(value=ast.Call() as call) if node.lineno == node.end_lineno and not is_quiet(call):
            yield node.lineno, node.col_offset, node.end_col_offset, "pass"
        case ast.Constant(value=bool() as value):
            yield node.lineno, node.col_offset, node.end_col_offset, str(not value)
        case ast.Constant(value=int() as value):
            yield node.lineno, node.col_offset, node.end_col_offset, str(value + 1)
        case ast.Return(value=ast.expr() as value) if value.lineno == value.end_lineno:
            if not isinstance(value, ast.Constant):
                yield value.lineno, value.col_offset, value.end_col_offset, "None"


def mutants_of(module):
    source = (PACKAGE / place(module)).read_text()
    tree = ast.parse(source)
    passed_over = {id(n) for node in ast.walk(tree) for n in _beside_the_work(node)}
    found = {
        Mutant(module, *change)
        for node in ast.walk(tree)
        if id(node) not in passed_over
        for change in changes(node, source)
    }
    return sorted(found, key=lambda one: (one.line, one.column, one.instead))


def _beside_the_work(node):
    """Annotations, which never run, and decorators such as `@dataclass(frozen=True)`."""
    for beside in (getattr(node, "annotation", None), getattr(node, "returns", None)):
        if beside is not None:
            yield from ast.walk(beside)
    for decorator in getattr(node, "decorator_list", ()):
        yield from ast.walk(decorator)


def draw(count, seed, only):
    chosen = random.Random(seed)
    pools = {module: mutants_of(module) for module in PATH if not only or only in module}
    for pool in pools.values():
        chosen.shuffle(pool)
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*pools.values()))
    return list(itertools.islice((one for one in in_turn if one is not None), count))


def survives(folder, tests, workers):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n", str(workers)]
    command += ["--hypothesis-seed=1", "-m", "not heavy and not ground", *tests]
    env = {**os.environ, "PYTHONPATH": str(folder)}
    try:
        done = subprocess.run(
            command, cwd=TREE, env=env, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def hunt(mutant, *, is_near_only=False):
    """Plant one mutation; return the tests that noticed it, or an empty string."""
    file = PACKAGE / place(mutant.module)
    near = [str(path) for name in PATH[mutant.module] for path in TREE.glob(f"tests/*/test_{name}.py")]
    with tempfile.TemporaryDirectory(prefix="clipspool-mutant-") as folder:
        changed = copied(Path(folder)) / place(mutant.module)
        changed.write_text(mutant.of(file.read_text()))
        for tests, workers in ((near, 0), *(() if is_near_only else ((wider, 2) for wider in WIDER))):
            if not survives(folder, tests, workers):
                return " ".join(tests)
    return ""


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=60)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", default="", help="a part of a module's name")
    options.add_argument("--near", action="store_true", help="run the nearest tests alone: quick, and strict")
    options.add_argument("--list", action="store_true", help="show what would be planted")
    asked = options.parse_args()
    drawn = draw(asked.count, asked.seed, asked.only)
    sources = {module: (PACKAGE / place(module)).read_text() for module in PATH}
    if asked.list:
        for one in drawn:
            sys.stdout.write(one.shown(sources[one.module]) + "\n")
        return 0
    begun, red = time.monotonic(), Counter()
    with ThreadPoolExecutor(max_workers=2) as pool:
        for one, noticed in zip(drawn, pool.map(partial(hunt, is_near_only=asked.near), drawn), strict=True):
            red[bool(noticed)] += 1
            sys.stdout.write(f"{'red     ' if noticed else 'SURVIVED'} {one.shown(sources[one.module])}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{red[True]} of {len(drawn)} red in {(time.monotonic() - begun) / 60:.0f} minutes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
