/**
 * Admission of connections to one listener, for every server of this program. A caller first has
 * to show what it wants: to finish a handshake, or to send a whole request. Until then its
 * connection is "pending", has a deadline, and is the first to go when places are short.
 *
 * When a limit is reached, the oldest pending connection makes room: of the same source address
 * where that address has used up its share, else of the address with the most pending ones. A
 * single honest caller therefore outlives thousands of half-open connections of another.
 * Where nothing is pending, a connection makes room whose server waits for its client, such as an
 * HTTP connection between two requests: again the one that has waited for longest. Where there is
 * none, the new connection is refused; other established ones are never closed.
 */

export interface ConnectionLimits {
  /** Most connections at once. */
  total: number;
  /** Most of them from one IPv4 address or one IPv6 /64, which is what one host can choose from. */
  perAddress: number;
  /** How long a connection may be pending. */
  pendingMs: number;
}

/** What a limit needs to know of a socket of node:net. */
export interface LimitedSocket {
  readonly remoteAddress?: string | undefined;
  destroy(): unknown;
  once(event: "close", listener: () => void): unknown;
}

/** A connection that was admitted. */
export interface Admission {
  /** The caller has shown what it wants; the deadline no longer applies. Twice is fine. */
  established(): void;
  /** The client's turn: until the next `established` the connection may be closed to make room. */
  waiting(): void;
}

/** Connections closed by a limit since the start, and those that are open. For metrics. */
export interface ConnectionCounts {
  open: number;
  pending: number;
  /** Closed because they were still pending at the deadline. */
  overdue: number;
  /** Closed while pending or waiting to make room. */
  evicted: number;
  /** Closed at once because nothing could make room. */
  refused: number;
}

interface Source {
  open: number;
  /** What closes each pending connection, oldest first. */
  pending: Set<() => void>;
  /** The same of those that wait for their clients, longest first. */
  waiting: Set<() => void>;
}

export class ConnectionLimit {
  readonly #limits: ConnectionLimits;
  readonly #sources = new Map<string, Source>();
  readonly #counts: ConnectionCounts = { open: 0, pending: 0, overdue: 0, evicted: 0, refused: 0 };

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  counts(): Readonly<ConnectionCounts> {
    return { ...this.#counts };
  }

  /**
   * Counts a new connection until it closes.
   *
   * @returns undefined where it was refused, and is already closed.
   */
  admit(socket: LimitedSocket): Admission | undefined {
    const key = sourceOf(socket.remoteAddress);
    if (!this.#makeRoom(key)) {
      this.#counts.refused++;
      socket.destroy();
      return undefined;
    }
    const source = this.#sources.get(key) ?? { open: 0, pending: new Set(), waiting: new Set() };
    this.#sources.set(key, source);
    let isOpen = true;
    source.open++;
    this.#counts.open++;
    this.#counts.pending++;

    const established = () => {
      source.waiting.delete(end);
      // Most calls come again for each request, and clearing a timer costs 17 µs on Deno 2.7.
      if (!source.pending.delete(end)) return;
      clearTimeout(deadline);
      this.#counts.pending--;
    };
    const waiting = () => {
      if (!isOpen || source.waiting.has(end)) return;
      established();
      source.waiting.add(end);
    };
    /** The place is free at once; "close" comes only in a later turn of the event loop. */
    const left = () => {
      if (!isOpen) return;
      isOpen = false;
      established();
      this.#counts.open--;
      source.open--;
      if (source.open === 0) this.#sources.delete(key);
    };
    const end = () => {
      left();
      socket.destroy();
    };
    const deadline = setTimeout(() => {
      this.#counts.overdue++;
      end();
    }, this.#limits.pendingMs);
    source.pending.add(end);
    socket.once("close", left);
    return { established, waiting };
  }

  /** Whether there is room for one more of this source, if need be after closing a pending one. */
  #makeRoom(key: string): boolean {
    const own = this.#sources.get(key);
    if (own !== undefined && own.open >= this.#limits.perAddress) return this.#evict(own);
    if (this.#counts.open < this.#limits.total) return true;
    return this.#evict(this.#largest("pending") ?? this.#largest("waiting"));
  }

  /** The source with the most connections of that kind; undefined where none has any. */
  #largest(kind: "pending" | "waiting"): Source | undefined {
    let most: Source | undefined;
    for (const source of this.#sources.values()) {
      if (source[kind].size > (most?.[kind].size ?? 0)) most = source;
    }
    return most;
  }

  #evict(source: Source | undefined): boolean {
    const [oldest] = source === undefined || source.pending.size > 0
      ? source?.pending ?? []
      : source.waiting;
    if (oldest === undefined) return false;
    this.#counts.evicted++;
    oldest();
    return true;
  }
}

/**
 * What one host can choose its addresses from: IPv4 as it is, also where it is shown as a part of IPv6;
 * of IPv6 the /64 (RFC 4291, 2.5.4).
 */
export function sourceOf(address: string | undefined): string {
  if (address === undefined) return "";
  const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%")[0]!.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array<string>(Math.max(0, 8 - front.length - back.length)).fill("0");
  const groups = tail === undefined ? front : [...front, ...zeros, ...back];
  return groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(":");
}
