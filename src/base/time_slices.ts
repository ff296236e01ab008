import { nextTurn } from "../deno/next_turn.ts";

/**
 * How long answers may keep the event loop before everything else gets its turn: a tenth of the
 * 50 ms that no request may exceed, since several pieces may end up in one turn.
 */
const sliceMs = 5;

/**
 * Until a step that was let go has reached its end, through the generators and promises between here
 * and the socket: about 15. With too few, hundreds of steps were let go before the first was timed.
 */
const hops = 30;

export type Urgency = "now" | "whenever";

/**
 * Shares the event loop among long pieces of work, in turn. Work that consists of many small steps
 * awaits `pace()` between them:
 *
 *     for (const id of ids) {
 *       await slices.pace();
 *       yield read(id);
 *     }
 *
 * A step should take about a millisecond at most.
 */
export class TimeSlices {
  readonly #waiting: Record<Urgency, (() => void)[]> = { now: [], whenever: [] };
  #turn: Urgency = "now";
  #until = -Infinity;
  #isPumping = false;

  /**
   * Undefined while the current slice lasts; else settles in a later turn of the event loop.
   *
   * @param urgency work that a caller waits for, or that goes on for as long as he likes. Each kind gets
   * every other turn, so that a thousand streams do not keep a single change waiting.
   */
  pace(urgency: Urgency = "now"): Promise<void> | undefined {
    if (performance.now() < this.#until) return undefined;
    return new Promise((resolve) => {
      this.#waiting[urgency].push(resolve);
      if (!this.#isPumping) this.#pump();
    });
  }

  /** Of those that wait, the one whose turn it is. */
  #next(): (() => void) | undefined {
    const { now, whenever } = this.#waiting;
    this.#turn = this.#turn === "now" ? "whenever" : "now";
    return this.#turn === "now" ? now.shift() ?? whenever.shift() : whenever.shift() ?? now.shift();
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    for (let next; (next = this.#next()) !== undefined;) {
      // Heartbeats and other calls come first.
      await nextTurn();
      this.#until = performance.now() + sliceMs;
      do {
        next();
        // Its step runs now; only then is it known whether there is time for the next.
        for (let hop = 0; hop < hops; hop++) await undefined;
      } while (performance.now() < this.#until && (next = this.#next()) !== undefined);
    }
    this.#isPumping = false;
  }
}
