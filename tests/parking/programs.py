"""Random programs: functions that compute, raise, loop, call one another and generators, and
receive from a channel in between. The log of a program says what it did.
"""

import random


class Writer:
    """Writes one program."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lines = []
        self.names = 0
        self.functions = []

    def program(self):
        for i in range(self.random.randint(2, 4)):
            self.function(f"f{i}", generator=False)
            if self.random.random() < 0.6:
                self.function(f"g{i}", generator=True)
        self.functions = self.functions[:]
        self.function("main", generator=False)
        return "\n".join(self.lines) + "\n"

    def function(self, name, generator):
        self.generator = generator
        self.variables = ["a", "b"]
        self.loops = 0
        shared = self.random.random() < 0.3
        self.emit(0, f"def {name}(ch, log, a, b=1):")
        if shared:
            self.emit(1, "s = [0]")
            self.emit(1, "def inner(n):")
            self.emit(2, "nonlocal b")
            self.emit(2, "b += ch.receive() % 5")
            self.emit(2, "s[0] += n")
            self.emit(2, "return b + s[0]")
        self.shared = shared
        self.block(1, depth=0)
        if generator:
            self.emit(1, f"yield {self.expression(1)}")
        self.emit(1, f"return {self.expression(1)}")
        self.shared = False
        self.functions.append((name, generator))

    def emit(self, indent, text):
        self.lines.append("    " * indent + text)

    def new(self):
        self.names += 1
        name = f"v{self.names}"
        return name

    def block(self, indent, depth):
        before = len(self.variables)
        for _ in range(self.random.randint(1, 3)):
            self.statement(indent, depth)
        del self.variables[before:]

    def statement(self, indent, depth):
        kinds = [self.assign, self.assign, self.note]
        if self.generator:
            kinds.append(self.give)
        if depth < 3:
            kinds += [
                self.loop,
                self.condition,
                self.attempt,
                self.attempt,
                self.within,
                self.delegate,
                self.collect,
            ]
        self.random.choice(kinds)(indent, depth)

    def assign(self, indent, depth):
        value = self.expression(2)
        name = self.new()
        self.emit(indent, f"{name} = {value}")
        self.variables.append(name)

    def note(self, indent, depth):
        self.emit(indent, f"log.append({self.expression(2)})")

    def give(self, indent, depth):
        self.emit(indent, f"log.append((yield {self.expression(2)}))")

    def loop(self, indent, depth):
        source = self.random.choice(
            [
                "range(2)",
                "'xy'",
                "enumerate([1, 2])",
                "[3, 4]",
                "{1: 2, 3: 4}.items()",
                "zip([1], 'z')",
            ]
        )
        name = self.new()
        self.emit(indent, f"for {name} in {source}:")
        self.emit(indent + 1, f"log.append(repr({name}))")
        self.loops += 1
        self.block(indent + 1, depth + 1)
        self.loops -= 1
        if self.random.random() < 0.3:
            self.emit(
                indent + 1,
                f"if {self.expression(1)} % 3 == 0: {self.random.choice(['break', 'continue'])}",
            )
        if self.random.random() < 0.2:
            self.emit(indent, "else:")
            self.block(indent + 1, depth + 1)

    def condition(self, indent, depth):
        self.emit(indent, f"if {self.expression(2)} % 2:")
        self.block(indent + 1, depth + 1)
        if self.random.random() < 0.5:
            self.emit(indent, "else:")
            self.block(indent + 1, depth + 1)

    def attempt(self, indent, depth):
        self.emit(indent, "try:")
        self.block(indent + 1, depth + 1)
        if self.random.random() < 0.6:
            kind = self.random.choice(["KeyError", "ValueError"])
            value = self.expression(1)
            self.emit(indent + 1, f"if {self.expression(1)} % 3: raise {kind}({value})")
        last = self.random.random() < 0.5
        if not last or self.random.random() < 0.6:
            self.emit(indent, "except KeyError as e:")
            self.emit(indent + 1, "log.append((repr(e), repr(sys.exc_info()[1])))")
            self.block(indent + 1, depth + 1)
            if self.random.random() < 0.3:
                self.emit(indent + 1, "raise")
            self.emit(indent, "except ValueError:")
            self.emit(indent + 1, "log.append(repr(sys.exc_info()[1]))")
            self.block(indent + 1, depth + 1)
        if last:
            self.emit(indent, "finally:")
            self.emit(indent + 1, "log.append(('finally', repr(sys.exc_info()[1])))")
            self.block(indent + 1, depth + 1)

    def within(self, indent, depth):
        swallow = self.random.random() < 0.5
        self.emit(indent, f"with Manager(log, {swallow}) as {self.new()}:")
        self.block(indent + 1, depth + 1)
        if self.random.random() < 0.4:
            self.emit(indent + 1, f"if {self.expression(1)} % 2: raise KeyError('with')")

    def delegate(self, indent, depth):
        made = [name for name, generator in self.functions if generator]
        if not made:
            return self.note(indent, depth)
        call = f"{self.random.choice(made)}(ch, log, {self.expression(1)})"
        if self.generator and self.random.random() < 0.5:
            self.emit(indent, f"log.append((yield from {call}))")
            return None
        name = self.new()
        self.emit(indent, f"for {name} in {call}:")
        self.emit(indent + 1, f"log.append(({name}, repr(sys.exc_info()[1])))")
        self.block(indent + 1, depth + 2)
        return None

    def collect(self, indent, depth):
        name = self.new()
        forms = [
            "[{0} for {1} in range(2)]",
            "{{{1}: {0} for {1} in 'xy'}}",
            "sorted({{{0} for {1} in range(2)}})",
        ]
        form = self.random.choice(forms).format(self.expression(1), name)
        self.emit(indent, f"log.append({form})")

    def expression(self, depth):
        kind = self.random.randrange(11) if depth else self.random.randrange(3)
        if kind == 0:
            return str(self.random.randrange(10))
        if kind <= 2:
            return self.random.choice(self.variables) if kind == 1 else "ch.receive()"
        inner = lambda: self.expression(depth - 1)  # noqa: E731
        if kind <= 5:
            return f"({inner()} {self.random.choice('+-*')} {inner()})"
        if kind == 6:
            return f"len([{inner()}, *[{inner()}], ({inner()}, ch.receive())])"
        if kind == 7:
            return f"({inner()} if {inner()} % 2 else {inner()})"
        if kind == 8:
            # Before 3.12 formatted strings cannot be nested.
            digits = f"{{{self.random.choice(self.variables)} % 10}}{{ch.receive() % 10}}"
            return f"int(f'{digits}') + {inner()}"
        if kind == 9 and self.shared:
            return f"inner({inner()})"
        plain = [name for name, generator in self.functions if not generator]
        if plain:
            return f"{self.random.choice(plain)}(ch, log, {inner()}, b={inner()})"
        return f"max({inner()}, {inner()})"


HEAD = """
import sys

class Manager:
    def __init__(self, log, swallow):
        self.log, self.swallow = log, swallow
    def __enter__(self):
        self.log.append("enter")
        return self
    def __exit__(self, *error):
        self.log.append(("exit", repr(error[1])))
        return self.swallow and isinstance(error[1], KeyError)

def run(ch, log):
    try:
        log.append(("returned", main(ch, log, 3)))
    except (KeyError, ValueError) as e:
        log.append(("raised", repr(e)))
    log.append(sys.exc_info())

"""


def source(seed):
    """The source of the program with this number: its function `run(channel, log)`."""
    return HEAD + Writer(seed).program()
