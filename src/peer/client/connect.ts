import http2, { type ClientHttp2Session } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Clock } from "../../base/clock.ts";
import { joinHost, splitHost } from "../../base/address.ts";
import { dialableAddresses } from "../../deno/host_addresses.ts";
import { prepareHttp2 } from "../../deno/http2_sessions.ts";
import type { Loaded } from "../../tls/credentials.ts";
import type { PeerMode, TlsMode } from "../../tls/mode.ts";
import { checkPresented, connectionOptions } from "../../tls/verify.ts";

/** The next address is tried after this time, or at once when the last has failed (RFC 8305, section 8). */
const nextAddressMs = 250;

export interface Dialling {
  /** `host:port`, as it is configured. */
  address: string;
  mode: PeerMode;
  /** Taken at each connection, so that a new certificate or CA is used by the next one. */
  loaded: () => Loaded;
  clock: Clock;
  signal: AbortSignal;
}

export interface Connection {
  session: ClientHttp2Session;
  /** Ends it at once; nothing is said to the other side. */
  cut(): void;
}

/**
 * Connects to the first address of the host that answers as HTTP/2; with mTLS only that shows that our
 * certificate was accepted (RFC 8446, section 4.4.2).
 *
 * @throws {Error} for the last of the addresses, or the reason of the signal.
 */
export async function connect(dialling: Dialling): Promise<Connection> {
  const { address, clock, signal } = dialling;
  prepareHttp2();
  const { host, port } = splitHost(address);
  const addresses = alternating(await dialableAddresses(host, port));
  const over = new AbortController();
  const abort = () => over.abort(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  const tries: Promise<Connection>[] = [];
  try {
    for (const each of addresses) {
      const attempt = connectOne(each, port, dialling, over.signal);
      tries.push(attempt);
      const failed = attempt.then(() => false, () => true);
      const allFailed = Promise.any(tries).then(() => false, () => true);
      const late = clock.sleep(nextAddressMs, over.signal).then(() => true, () => false);
      if (!await Promise.race([failed, allFailed, late])) break;
    }
    const winner = await Promise.any(tries);
    // Two may have answered in the same moment.
    const extra = (connection: Connection) => connection === winner || connection.cut();
    for (const each of tries) each.then(extra, () => {});
    return winner;
  } catch (error) {
    throw error instanceof AggregateError ? error.errors.at(-1) : error;
  } finally {
    signal.removeEventListener("abort", abort);
    over.abort(new Error("Another address has answered"));
  }
}

/** IPv6 and IPv4 in turns, as they come otherwise (RFC 8305, section 4). */
function alternating(addresses: string[]): string[] {
  const isV6 = (address: string) => address.includes(":");
  const first = addresses.filter((each) => isV6(each) === isV6(addresses[0]!));
  const second = addresses.filter((each) => !first.includes(each));
  return first.flatMap((each, at) => [each, ...second.slice(at, at + 1)])
    .concat(second.slice(first.length));
}

function connectOne(
  host: string,
  port: number,
  { address, mode, loaded, clock }: Dialling,
  signal: AbortSignal,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const opened: { destroy(): void }[] = [];
    const cut = () => opened.forEach((each) => each.destroy());
    const fail = (error: unknown) => {
      signal.removeEventListener("abort", abort);
      cut();
      reject(error);
    };
    const abort = () => fail(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    const closed = () => fail(new Error("The connection was closed"));
    const watched = <S extends Socket>(socket: S): S => {
      opened.push(socket);
      // Both stay: an error without a listener ends the process.
      return socket.on("error", fail).on("close", closed);
    };
    const speak = (socket: Socket) => {
      const scheme = mode.mode === "h2c" ? "http" : "https";
      const session = http2.connect(`${scheme}://${joinHost(splitHost(address).host, port)}`, {
        createConnection: () => socket,
        maxSendHeaderBlockLength: Number.MAX_SAFE_INTEGER,
        maxSessionMemory: Number.MAX_SAFE_INTEGER,
      });
      opened.unshift(session);
      session.on("error", fail);
      session.once("close", closed);
      session.once("remoteSettings", () => {
        signal.removeEventListener("abort", abort);
        resolve({ session, cut });
      });
    };
    const socket = watched(connectTcp({ host, port, noDelay: true }));
    socket.once("connect", () => {
      if (mode.mode === "h2c") return speak(socket);
      const secure = watched(secureOver(socket, mode, splitHost(address).host, loaded()));
      secure.once("secureConnect", () => {
        try {
          if (!mode.skipVerify) checkPresented(secure, loaded(), clock.now());
          speak(secure);
        } catch (error) {
          fail(error);
        }
      });
    });
  });
}

function secureOver(socket: Socket, mode: TlsMode, host: string, loaded: Loaded) {
  return connectTls({ socket, ...connectionOptions(mode, host, loaded) });
}
