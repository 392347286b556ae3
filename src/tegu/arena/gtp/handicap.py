"""Where handicap stones lie."""

from tegu.environments.games.go import Go


def most_fixed(game: Go) -> int:
    """How many stones have a place (GTP version 2, section 4.1.1): 9, 4 on even and 7x7 boards, 0 on smaller ones."""
    if game.size < 7:
        return 0
    return 9 if game.size % 2 and game.size > 7 else 4


def fixed(game: Go, stones: int) -> list[int]:
    """The points of 2 to ``most_fixed`` handicap stones: corners, then sides, and the centre where they are odd."""
    low = 2 if game.size < 12 else 3  # lines from the edge; GNU Go, the reference of the protocol, has the same
    high, middle = game.size - 1 - low, game.size // 2
    corners = [(high, low), (low, high), (low, low), (high, high)]  # row from the top, column
    sides = [(middle, low), (middle, high), (low, middle), (high, middle)]
    even = stones - stones % 2 if stones > 4 else stones
    places = (corners + sides)[:even] + [(middle, middle)] * (stones - even)
    return [row * game.size + column for row, column in places]
