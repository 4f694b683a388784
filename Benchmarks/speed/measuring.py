"""What the timing scripts share: the machine in words, a command with its time and memory, medians, Markdown, JSON."""

import json
import os
import platform
import signal
import statistics
import subprocess
import sys


def machine():
    """The processor's name."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def warn_of_load():
    """Says so if something else uses the processors: threads that wait for each other collapse then."""
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"the load average is {load:.1f}: other programs use the processors, which spoils the figures")


def say(words):
    print(words, file=sys.stderr, flush=True)


class CommandFailed(Exception):
    """A command that was to be timed did not end well."""


def measured(command, log, **keywords):
    """Runs a command with its output in the file `log`; its wall time in seconds and peak resident memory in bytes.

    The peak is that of its largest process, what /usr/bin/time -v calls the maximum resident set size; pages of mapped
    files count while they are resident.
    """
    figures = log + ".time.json"
    launcher = [sys.executable, "-S", os.path.join(os.path.dirname(os.path.abspath(__file__)), "timed.py"), figures]
    # A script that is told to end takes its command with it, which would go on in the next one's way.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    with open(log, "w") as file:
        process = subprocess.Popen(
            launcher + command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, **keywords)
        try:
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
    if os.path.exists(figures):
        with open(figures) as file:
            found = json.load(file)
        os.remove(figures)
    if status != 0:
        raise CommandFailed(f"{os.path.basename(command[0])} ended with {status}: {last_line(log)} ({log})")
    return found


def last_line(path):
    with open(path, errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def rotated(contestants, round):
    """The order of a round: each begins with another contestant, so that none always follows the same one."""
    first = round % len(contestants) if contestants else 0
    return contestants[first:] + contestants[:first]


def middle(values):
    return statistics.median(values) if values else None


def markdown(head, rows):
    """A Markdown table: the first column is text, the others are figures."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def save(path, values):
    """Writes JSON, whole or not at all."""
    with open(path + ".partial", "w") as file:
        json.dump(values, file, indent=1)
        file.write("\n")
    os.replace(path + ".partial", path)


def save_table(path, words):
    """Writes the table beside the figures, and prints it."""
    with open(os.path.splitext(path)[0] + ".md", "w") as file:
        file.write(words + "\n")
    print(words, flush=True)
