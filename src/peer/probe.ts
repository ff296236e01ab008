import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { Pair } from "../pki/inspect.ts";

/** One connection attempt, step by step, for `diagnose.ts`. */

/** A healthy coordinator answers each step within milliseconds; a lost packet costs about 1 s. */
const stepMs = 3000;

type Probed<S> = { socket: S } | { failure: string };

export function probeTcp(host: string, port: number): Promise<Probed<Socket>> {
  const socket = connectTcp({ host, port });
  return established(socket, "connect");
}

export function probeTls(options: {
  host: string;
  port: number;
  /** Asked for and verified; the host unless told otherwise. */
  name?: string;
  pair?: Pair | undefined;
  rejectUnauthorized: boolean;
}): Promise<Probed<TLSSocket>> {
  const { host, port, name = host, pair, rejectUnauthorized } = options;
  const socket = connectTls({
    host,
    port,
    rejectUnauthorized,
    ALPNProtocols: ["h2"],
    ...(isIP(name) === 0 ? { servername: name } : {}),
    ...(pair === undefined ? {} : { cert: pair.certPem, key: pair.keyPem }),
  });
  return established(socket, "secureConnect");
}

function established<S extends Socket>(socket: S, event: string): Promise<Probed<S>> {
  return new Promise((resolve) => {
    const settle = (probed: Probed<S>) => {
      clearTimeout(impatience);
      if ("failure" in probed) socket.destroy();
      resolve(probed);
    };
    const impatience = setTimeout(() => settle({ failure: "ETIMEDOUT" }), stepMs);
    socket.once(event, () => settle({ socket }));
    // It stays, so that a later error is nobody's surprise.
    socket.on("error", (error: Error & { code?: string }) => {
      settle({ failure: error.code ?? error.name });
    });
  });
}

/** The opening of HTTP/2 with empty SETTINGS (RFC 9113, section 3.4). */
const preface = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
/** Fourth byte of a frame. */
const settingsFrame = 4;

/** How the other side answers the opening of HTTP/2. */
export function answerTo(socket: Socket): Promise<"http2" | "other" | "closed" | "silence"> {
  return new Promise((resolve) => {
    const settle = (answer: "http2" | "other" | "closed" | "silence") => {
      clearTimeout(impatience);
      socket.destroy();
      resolve(answer);
    };
    const impatience = setTimeout(() => settle("silence"), stepMs);
    socket.once("data", (data) => settle(data[3] === settingsFrame ? "http2" : "other"));
    socket.once("error", () => settle("closed"));
    socket.once("end", () => settle("closed"));
    socket.once("close", () => settle("closed"));
    if (socket.destroyed) settle("closed");
    else socket.write(preface);
  });
}
