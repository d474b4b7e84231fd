"""A small server that speaks /chat/completions, and fails as a test wants it to."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd

KEY = 'sk-7f/Very"Secret'  # with what JSON writes in another way
PAIRS = pd.DataFrame(
    [
        ("p0", "What is blue?", "The sky is.", "No."),
        ("p1", "What is red?", "No.", "A rose, and much else."),
        ("p2", "What is green?", "Grass", "Moss!"),
    ],
    columns=["prompt_id", "prompt", "first", "second"],
)
HANG, DROP = object(), object()  # give no answer till the test is over; close the connection
DRIP = object()  # write headers without end, one every 50 ms


def completion(content, status=200, **headers):
    """A reply: a chat completion that says `content`."""
    text = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]})
    return status, text, headers


def shown(body):
    """The texts that a request asks about: prompt, A, B."""
    return json.loads(body["messages"][-1]["content"].rpartition("\n\n")[2])


def longer(body):
    """Judge by length, whatever the order."""
    texts = shown(body)
    a, b = len(texts["A"]), len(texts["B"])
    return completion("A" if a > b else "B" if b > a else "tie")


class ChatServer:
    """Answers by `reply(body, nth)`: nth counts from 0 the requests with this body; `bodies` came so far."""

    def __init__(self):
        self.reply = lambda body, nth: longer(body)
        self.bodies, self.authorizations = [], []
        self.over, self._lock, self._seen = threading.Event(), threading.Lock(), Counter()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self.over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _answer(self, path, headers, raw):
        body = json.loads(raw)
        with self._lock:
            nth = self._seen[raw]
            self._seen[raw] += 1
            self.bodies.append(body)
            self.authorizations.append(headers["Authorization"])
        return self.reply(body, nth) if path == "/v1/chat/completions" else (404, "no such path", {})

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize, disable_nagle_algorithm = -1, True  # a reply is one packet, or each waits for 40 ms

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                reply = server._answer(self.path, self.headers, raw)
                if reply is HANG:
                    server.over.wait(30)
                if reply is DRIP:
                    self._drip()
                if reply in (HANG, DROP, DRIP):
                    self.close_connection = True
                    return
                status, text, headers = reply
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text.encode())), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(text.encode())

            def _drip(self):
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                try:
                    while not server.over.wait(0.05):
                        self.wfile.write(b"X-More: 1\r\n")
                        self.wfile.flush()
                except OSError:
                    pass  # the client has gone

            def log_message(self, *args):
                pass

        return Handler
