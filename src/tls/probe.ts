import { messageOf } from "../base/errors.ts";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { Certificate, Pair } from "../pki/x509/inspect.ts";
import { presented } from "./verify.ts";

/** One connection attempt, step by step, for `diagnose.ts`. */

/** Each step takes milliseconds; a lost packet costs about 1 s (RFC 6298). */
const stepMs = 3000;

type Probed<T> = T | { failure: string };

/** @returns the connection, or the error's code, ETIMEDOUT after 3 s. */
export function probeTcp(host: string, port: number): Promise<Probed<{ socket: Socket }>> {
  const socket = connectTcp({ host, port });
  return established(socket, "connect", () => ({ socket }));
}

/** A TLS connection, with what was shown on it. */
export interface Shown {
  socket: TLSSocket;
  /** The certificate of the other side, then what it sent besides. */
  chain: Certificate[];
}

export function probeTls(options: {
  host: string;
  port: number;
  /** Sent as the server name; by default the host. */
  name?: string;
  pair?: Pair | undefined;
  rejectUnauthorized: boolean;
  /** Offered by ALPN. */
  protocols?: string[];
}): Promise<Probed<Shown>> {
  const { host, port, name = host, pair, rejectUnauthorized, protocols = ["h2"] } = options;
  const socket = connectTls({
    host,
    port,
    rejectUnauthorized,
    ALPNProtocols: protocols,
    ...(isIP(name) === 0 ? { servername: name.replace(/\.$/, "") } : {}),
    ...(pair === undefined ? {} : { cert: pair.certPem, key: pair.keyPem }),
  });
  // At once: when the other side hangs up, the certificates are gone.
  return established(socket, "secureConnect", () => ({
    socket,
    chain: presented(socket),
  }));
}

function established<T>(socket: Socket, event: string, result: () => T): Promise<Probed<T>> {
  return new Promise((resolve) => {
    const settle = (probed: Probed<T>) => {
      clearTimeout(impatience);
      resolve(probed);
    };
    const fail = (failure: string) => {
      socket.destroy();
      settle({ failure });
    };
    const impatience = setTimeout(() => fail("ETIMEDOUT"), stepMs);
    socket.once(event, () => {
      try {
        settle(result());
      } catch (error) {
        // A certificate that our reader refuses.
        fail(messageOf(error));
      }
    });
    // It stays: an error without a listener ends the process.
    socket.on("error", (error: Error & { code?: string }) => {
      fail(error.code ?? error.name);
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
