"""An agent that uses tools in a loop, and continues where it was killed.

    python examples/durable/agent.py [DATABASE]

The "model" is a fake: a few lines that always answer the same, so that this runs without a network.
With a real one only `ask_model` changes. Each answer of the model and each result of a tool is a
step: paid for once, recorded, and not asked for again after a crash. The conversation is a list in
a local variable, which is saved with the function; there is no graph, and no state to declare.

The first run is killed after the second tool; start it again.
"""

from __future__ import annotations

import ast
import operator
import os
import signal
import sys
from typing import Any

from stackless import durable

PRICES = {"tea": 4.5, "milk": 1.25}


def look_up(item: str) -> float:
    """Return the price of an item."""
    return PRICES[item]


def calculate(formula: str) -> float:
    """Return the value of a formula of numbers with + and *."""

    def value(node: ast.expr) -> float:
        match node:
            case ast.BinOp(left, ast.Add(), right):
                return operator.add(value(left), value(right))
            case ast.BinOp(left, ast.Mult(), right):
                return operator.mul(value(left), value(right))
            case ast.Constant(int() | float() as number):
                return number
        raise ValueError(f"not a formula: {formula}")

    return value(ast.parse(formula, mode="eval").body)


TOOLS = {"look_up": look_up, "calculate": calculate}


@durable.step(retries=3)
def ask_model(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the next message of the fake model: a call of a tool, or the answer."""
    print(f"asked the model, {len(messages)} messages")
    results = [each["content"] for each in messages if each["role"] == "tool"]
    match results:
        case []:
            return {"role": "assistant", "tool": "look_up", "argument": "tea"}
        case [_]:
            return {"role": "assistant", "tool": "look_up", "argument": "milk"}
        case [tea, milk]:
            formula = f"3 * {tea} + 2 * {milk}"
            return {"role": "assistant", "tool": "calculate", "argument": formula}
        case [*_, total]:
            return {"role": "assistant", "content": f"That is {total:.2f} in all."}
    raise AssertionError


@durable.step(retries=1)
def use_tool(name: str, argument: str) -> float:
    """Call a tool; an error is raised in the agent, which could tell the model."""
    print(f"used {name}({argument!r})")
    return TOOLS[name](argument)


@durable.workflow
def agent(question: str) -> str:
    """Talk to the model until it answers."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    while True:
        answer = ask_model(messages)
        messages.append(answer)
        if "tool" not in answer:
            return str(answer["content"])
        result = use_tool(answer["tool"], answer["argument"])
        messages.append({"role": "tool", "content": result})
        if len(messages) == 5:
            kill_this_process_once()


def kill_this_process_once() -> None:
    """End the process as a crash would, the first time."""
    if not os.path.exists(f"{database}.killed"):
        open(f"{database}.killed", "w").close()
        print("... killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


database = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "agent.db")

if __name__ == "__main__":
    app = durable.App("agents", f"sqlite:///{database}")
    print(app.run(agent, "What do three teas and two milks cost?", id="question-1"))
    app.close()
