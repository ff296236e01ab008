"""Opens a page in Firefox by its Marionette protocol and prints what a person would see of it.

Arguments: the address, then JavaScript expressions to wait for, each until it is true. The profile is
new each time, as that of a user who opens Firefox for the first time.
"""
import json, os, socket, subprocess, sys, tempfile, time

url, *expressions = sys.argv[1:]
profile = tempfile.mkdtemp()
firefox = subprocess.Popen(
    ["firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", profile],
    env={**os.environ, "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
deadline = time.monotonic() + 90


def connect():
    while True:
        try:
            return socket.create_connection(("127.0.0.1", 2828))
        except OSError:
            if time.monotonic() > deadline or firefox.poll() is not None:
                raise
            time.sleep(0.2)


def receive():
    """`LENGTH:JSON`"""
    length = b""
    while not length.endswith(b":"):
        length += connection.recv(1)
    text = b""
    while len(text) < int(length[:-1]):
        text += connection.recv(65536)
    return json.loads(text)


def call(name, parameters):
    message = json.dumps([0, 1, name, parameters])
    connection.sendall(f"{len(message)}:{message}".encode())
    _, _, error, result = receive()
    if error:
        raise RuntimeError(f'{error["error"]} {error["message"]}')
    return result


try:
    connection = connect()
    receive()  # It greets.
    call("WebDriver:NewSession", {"acceptInsecureCerts": False})
    call("WebDriver:Navigate", {"url": url})
    for expression in expressions:
        script = {"script": f"return Boolean({expression})", "args": []}
        while not call("WebDriver:ExecuteScript", script)["value"]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"never true: {expression}")
            time.sleep(0.2)
    script = {"script": "return document.body.innerText", "args": []}
    print(call("WebDriver:ExecuteScript", script)["value"])
    if picture := os.environ.get("PICTURE"):
        import base64
        shot = call("WebDriver:TakeScreenshot", {"full": False})["value"]
        open(picture, "wb").write(base64.b64decode(shot))
except RuntimeError as error:
    print(f"Firefox: {error}")
finally:
    firefox.kill()
    firefox.wait()
