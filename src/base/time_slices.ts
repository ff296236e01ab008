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
  readonly #waiting: (() => void)[] = [];
  #until = -Infinity;
  #isPumping = false;

  /** Undefined while the current slice lasts; else settles in a later turn of the event loop. */
  pace(): Promise<void> | undefined {
    if (performance.now() < this.#until) return undefined;
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (!this.#isPumping) this.#pump();
    });
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    while (this.#waiting.length > 0) {
      // After this turn's input and output: heartbeats and other calls come first.
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.#until = performance.now() + sliceMs;
      while (this.#waiting.length > 0 && performance.now() < this.#until) {
        this.#waiting.shift()!();
        // Its step runs now; only then is it known whether there is time for the next.
        for (let hop = 0; hop < hops; hop++) await undefined;
      }
    }
    this.#isPumping = false;
  }
}
