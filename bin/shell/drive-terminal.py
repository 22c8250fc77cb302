"""Runs a command at a real terminal of 100 columns and types at it: standard input of this program is a JSON object
{command, env, steps: [{send?, expect?, signal?}]}; each step's `expect` (a regular expression over what came since the step
before) is waited for before the next. Standard output is a JSON object {output, code, failed}."""
import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

given = json.load(sys.stdin)
pid, terminal = pty.fork()
if pid == 0:
    os.execvpe(given["command"][0], given["command"], {**os.environ, **given.get("env", {})})
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
output, seen, failed = b"", 0, None


def read(seconds):
    global output
    ready, _, _ = select.select([terminal], [], [], seconds)
    if not ready:
        return True
    try:
        part = os.read(terminal, 65536)
    except OSError:
        return False
    output += part
    return part != b""


for step in given["steps"]:
    if "send" in step:
        os.write(terminal, step["send"].encode())
    deadline = time.monotonic() + 30
    pattern = re.compile(step.get("expect", "").encode(), re.S)
    while True:
        found = pattern.search(output, seen)
        if found:
            seen = found.end()
            break
        if time.monotonic() > deadline or not read(0.1):
            found = pattern.search(output, seen)
            failed = None if found else step
            break
    if failed:
        break

deadline = time.monotonic() + 10
while read(0.1) and time.monotonic() < deadline:
    pass
code = None
while time.monotonic() < deadline + 1:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        code = os.waitstatus_to_exitcode(status)
        break
    time.sleep(0.05)
if code is None:
    os.kill(pid, signal.SIGKILL)
json.dump({"output": output.decode(errors="replace"), "code": code, "failed": failed}, sys.stdout)
