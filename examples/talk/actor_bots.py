"""Robots in an arena: each is a tasklet, whose code simply says what it does, step after step.

Squarebots walk squares, spinbots turn and shoot, and every bullet is a tasklet as well; a game loop
gives each of them one step per tick. The same seed gives the same game.

    python examples/talk/actor_bots.py [--bots N] [--ticks N] [--seed N]
"""

import argparse
import math
import random
from collections import Counter

import stackless

UNIT = 1024  # places are whole numbers of 1/1024, so that a game is the same on every machine
CELL = 16 * UNIT  # bullets look for robots in their own cell of the arena
ROOM = 24 * UNIT  # the arena has a square of this size for each robot, on average
DIRECTIONS = [
    (round(UNIT * math.cos(math.radians(angle))), round(UNIT * math.sin(math.radians(angle))))
    for angle in range(360)
]


class World:
    """The arena and all robots and bullets in it."""

    def __init__(self, bots: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.size = max(4 * CELL, math.isqrt(bots) * ROOM)
        self.cells: dict[tuple[int, int], list[Robot]] = {}
        self.running = True
        self.tick = 0
        self.counts: Counter[str] = Counter()
        self.log: list[str] = []
        self.robots = [(Squarebot, Spinbot)[i % 2](self, i) for i in range(bots)]

    def inside(self, x: int, y: int) -> bool:
        return 0 <= x < self.size and 0 <= y < self.size

    def note(self, what: str, text: str) -> None:
        self.counts[what] += 1
        self.log.append(f"{self.tick:4}  {text}")

    def play(self, ticks: int) -> None:
        """The game loop: at each tick all other tasklets run once."""
        for self.tick in range(1, ticks + 1):
            stackless.schedule()
        self.running = False
        stackless.run()


class Actor:
    """An object that moves; a tasklet runs its method `live`."""

    def __init__(self, world: World, x: int, y: int, angle: int) -> None:
        self.world, self.x, self.y, self.angle = world, x, y, angle
        stackless.tasklet(self.live)()  # runs from the next tick on

    def live(self) -> None:
        raise NotImplementedError

    def step(self, length: int) -> bool:
        """Go forward, but not out of the arena."""
        dx, dy = DIRECTIONS[self.angle]
        x, y = self.x + length * dx, self.y + length * dy
        if not self.world.inside(x, y):
            return False
        self.x, self.y = x, y
        return True

    def turn(self, degrees: int) -> None:
        self.angle = (self.angle + degrees) % 360

    def cell(self) -> tuple[int, int]:
        return self.x // CELL, self.y // CELL


class Robot(Actor):
    """An actor with a name, hit points and a gun."""

    letter = "?"

    def __init__(self, world: World, number: int) -> None:
        self.name = f"{type(self).__name__.lower()} {number}"
        self.health = 30
        place = world.random.randrange
        super().__init__(world, place(world.size), place(world.size), 90 * place(4))
        self.enter_cell()

    def live(self) -> None:
        while self.health > 0 and self.world.running:
            self.act()
            stackless.schedule()
        self.leave_cell()

    def act(self) -> None:
        raise NotImplementedError

    def enter_cell(self) -> None:
        self.home = self.cell()
        self.world.cells.setdefault(self.home, []).append(self)

    def leave_cell(self) -> None:
        self.world.cells[self.home].remove(self)

    def walk(self, length: int) -> bool:
        moved = self.step(length)
        if self.cell() != self.home:
            self.leave_cell()
            self.enter_cell()
        return moved

    def shoot(self) -> None:
        self.world.counts["shots"] += 1
        Bullet(self)

    def hurt(self, damage: int, by: "Robot") -> None:
        self.health -= damage
        if self.health > 0:
            self.world.note("hits", f"{by.name} hits {self.name}: {self.health} left")
        else:
            self.world.note("wrecks", f"{by.name} wrecks {self.name}")


class Squarebot(Robot):
    """Walks along squares, shoots at each corner, and sometimes turns at random."""

    letter = "S"
    side = 8

    def __init__(self, world: World, number: int) -> None:
        self.steps = 0
        super().__init__(world, number)

    def act(self) -> None:
        moved = self.walk(2)
        self.steps += 1
        if not moved or self.steps == self.side:
            self.steps = 0
            self.turn(90)
            self.shoot()
            if self.world.random.randrange(8) == 0:
                self.turn(self.world.random.randrange(360))


class Spinbot(Robot):
    """Stays at its place, turns by 5 degrees at a time, and shoots at every second turn."""

    letter = "O"

    def act(self) -> None:
        self.turn(5)
        if self.angle % 10 == 0:
            self.shoot()


class Bullet(Actor):
    """Flies straight on until it leaves the arena or hits a robot."""

    reach = 2 * UNIT
    damage = 10

    def __init__(self, owner: Robot) -> None:
        self.owner = owner
        super().__init__(owner.world, owner.x, owner.y, owner.angle)

    def live(self) -> None:
        while self.world.running and self.step(3):
            target = self.target()
            if target is not None:
                target.hurt(self.damage, self.owner)
                return
            stackless.schedule()

    def target(self) -> Robot | None:
        for robot in self.world.cells.get(self.cell(), ()):
            near = abs(robot.x - self.x) < self.reach and abs(robot.y - self.y) < self.reach
            if near and robot is not self.owner and robot.health > 0:
                return robot
        return None


def picture(world: World, width: int = 48, height: int = 16) -> list[str]:
    """Return the arena as text, with the robots that are left."""
    rows = [["."] * width for _ in range(height)]
    for robot in world.robots:
        if robot.health > 0:
            rows[robot.y * height // world.size][robot.x * width // world.size] = robot.letter
    return ["".join(row) for row in rows]


def main(bots: int, ticks: int, seed: int) -> None:
    world = World(bots, seed)
    print(f"{bots} robots, each a tasklet: {stackless.getruncount() - 1} are runnable")
    world.play(ticks)
    if bots <= 20:
        print(*world.log, sep="\n")
        print(*picture(world), sep="\n")
    left = sum(robot.health > 0 for robot in world.robots)
    counts = world.counts
    print(f"{counts['shots']} shots, {counts['hits'] + counts['wrecks']} hits, {left} robots left")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Robots in an arena, each a tasklet.")
    parser.add_argument("--bots", type=int, default=12, metavar="N", help="how many (12)")
    parser.add_argument("--ticks", type=int, default=60, metavar="N", help="game length (60)")
    parser.add_argument("--seed", type=int, default=2007, metavar="N", help="same seed, same game")
    arguments = parser.parse_args()
    main(arguments.bots, arguments.ticks, arguments.seed)
