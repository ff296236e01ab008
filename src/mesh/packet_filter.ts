/**
 * Which multicast DNS packets are looked at. Anybody on the network can send them, and bonjour-service
 * compares the records of a packet with each other and with all that it knows: one packet of 60 KB
 * with 3,000 records held the event loop for 3 s.
 */
import type { Clock } from "../base/clock.ts";

/** A node's own answer has a dozen, with 8 addresses. */
const maxRecords = 64;
/** A question is answered each time that a packet repeats it. */
const maxQuestions = 16;
/** Larger ones are not multicast DNS (RFC 6762, 17). */
export const maxPacketBytes = 9_000;
/** A few hundred nodes that answer at once, where each one names all the others, and ordinary noise. */
const packets = { burst: 200, perSecond: 100 };

interface Packet {
  questions?: unknown[];
  answers?: unknown[];
  additionals?: unknown[];
  authorities?: unknown[];
}

export class PacketFilter {
  readonly #clock: Clock;
  #left = packets.burst;
  #at: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#at = clock.monotonic();
  }

  /** Whether there is time for this packet, before it is decoded. */
  admits(bytes: number): boolean {
    if (bytes > maxPacketBytes) return false;
    const now = this.#clock.monotonic();
    const gained = (now - this.#at) / 1000 * packets.perSecond;
    this.#left = Math.min(packets.burst, this.#left + gained);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }

  /** Whether it is looked at, as it was decoded. */
  accepts({ questions, answers, additionals, authorities }: Packet): boolean {
    const records = [answers, additionals, authorities]
      .reduce((sum, list) => sum + (list?.length ?? 0), 0);
    return records <= maxRecords && (questions?.length ?? 0) <= maxQuestions;
  }
}
