/**
 * HTTP/1.1 as far as probes need it: one small GET for each connection, which ends with the answer
 * (RFC 9112, 9.6). Whoever sends nothing, or little by little, or keeps connections open, takes a
 * place for a few seconds and no more: this port is the one that may be open to everybody.
 */

/** Probes and monitoring of a host are a handful. */
const mostConnections = 64;

/** From the connection to its end. */
const connectionMs = 5_000;

/** A request line and headers; servers usually take as much. */
const mostHeadBytes = 8 * 1024;

/** While no connection can be taken, as when too many files are open. */
const acceptAgainMs = 100;

export interface Answer {
  status: 200 | 400 | 404 | 405 | 500 | 503;
  body: string;
  type?: string;
}

/** Answers requests on a listener until that is closed; then ends what is open, and settles. */
export async function serveProbes(
  listener: Deno.TcpListener,
  answer: (path: string) => Answer,
): Promise<void> {
  /** Oldest first. */
  const open = new Map<Promise<void>, AbortController>();
  for (;;) {
    try {
      const connection = await listener.accept();
      // A probe says at once what it wants: whoever has waited longest is none.
      if (open.size >= mostConnections) {
        [...open.values()].find(({ signal }) => !signal.aborted)?.abort();
      }
      const end = new AbortController();
      const served = serve(connection, answer, end.signal).finally(() => open.delete(served));
      open.set(served, end);
    } catch (error) {
      if (error instanceof Deno.errors.BadResource) break;
      await new Promise((resolve) => setTimeout(resolve, acceptAgainMs));
    }
  }
  for (const end of open.values()) end.abort();
  await Promise.all(open.keys());
}

async function serve(
  connection: Deno.TcpConn,
  answer: (path: string) => Answer,
  stop: AbortSignal,
): Promise<void> {
  let isOpen = true;
  const close = () => {
    if (isOpen) connection.close();
    isOpen = false;
  };
  const late = setTimeout(close, connectionMs);
  stop.addEventListener("abort", close);
  try {
    const head = await readHead(connection);
    if (head !== undefined) await write(connection, responseTo(head, answer));
    // Closing on what was not read yet could take the answer back.
    await connection.closeWrite();
    const rest = new Uint8Array(1024);
    while (await connection.read(rest) !== null);
  } catch {
    // Gone, or too slow: either way there is nobody to tell.
  } finally {
    clearTimeout(late);
    stop.removeEventListener("abort", close);
    close();
  }
}

/** Up to the empty line; undefined where the caller ends before. */
async function readHead(connection: Deno.TcpConn): Promise<string | undefined> {
  const buffer = new Uint8Array(mostHeadBytes);
  for (let length = 0; length < buffer.length;) {
    const count = await connection.read(buffer.subarray(length));
    if (count === null) return undefined;
    length += count;
    const head = new TextDecoder("latin1").decode(buffer.subarray(0, length));
    if (/\r?\n\r?\n/.test(head)) return head;
  }
  return "";
}

function responseTo(head: string, answer: (path: string) => Answer): string {
  const [, method, path] = /^([A-Z]+) (\/[^ ?#]*)[^ ]* HTTP\/1\.[01]\r?\n/.exec(head) ?? [];
  const { status, body, type = "text/plain; charset=utf-8" } = answerTo(method, path, answer);
  const lines = [
    `HTTP/1.1 ${status} ${reasons[status]}`,
    `content-type: ${type}`,
    `content-length: ${new TextEncoder().encode(body).length}`,
    "cache-control: no-store",
    "connection: close",
  ];
  return lines.join("\r\n") + "\r\n\r\n" + (method === "HEAD" ? "" : body);
}

function answerTo(
  method: string | undefined,
  path: string | undefined,
  answer: (path: string) => Answer,
): Answer {
  if (method === undefined || path === undefined) return { status: 400, body: "Not HTTP\n" };
  if (method !== "GET" && method !== "HEAD") return { status: 405, body: "Only GET\n" };
  try {
    return answer(path);
  } catch {
    return { status: 500, body: "The answer could not be made\n" };
  }
}

/** RFC 9110, 15. */
const reasons: Record<Answer["status"], string> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

async function write(connection: Deno.TcpConn, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let done = 0; done < bytes.length;) done += await connection.write(bytes.subarray(done));
}
