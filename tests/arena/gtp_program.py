"""A program that speaks the Go Text Protocol, well or badly: ``gtp_program.py MANNER [LOG]``."""

import os
import sys
import time


def main(manner, log=None):
    stones = []
    for line in sys.stdin:
        if log:
            with open(log, "a", encoding="utf-8") as file:
                file.write(line)
        name, *words = line.split()
        answer = "="
        if name == "play":
            stones.append(words[1])
            if manner == "refuses":
                answer = "? illegal move"
        elif name == "boardsize" and manner == "small":
            answer = "? unacceptable size"
        elif name == "clear_board":
            stones.clear()
        elif name == "genmove":
            answer = genmove(manner, stones)
        print(f"{answer}\n", flush=True)


def genmove(manner, stones):
    match manner:
        case "resigns":
            return "= resign"
        case "plays on stones":
            return f"= {stones[0]}"
        case "plays nowhere":
            return "= Z99"
        case "crashes":
            print("first line\nout of luck", file=sys.stderr)
            sys.exit(3)
        case "sleeps":
            time.sleep(600)
        case "talks":
            return "hello"
        case "floods":
            while True:
                print()
        case "never ends":
            print("=")
            while True:
                print("x")
        case "closes":
            os.close(1)
            time.sleep(600)
    return "= PASS"


if __name__ == "__main__":
    main(*sys.argv[1:])
