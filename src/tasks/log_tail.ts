/** As much as a follower that reads steadily is ever behind. */
const mostBytes = 1024 * 1024;
/** Small pieces cost by their number. */
const mostPieces = 64;

/**
 * The newest bytes of one attempt's logs, kept while somebody follows them: they are handed on as
 * they came, and need not be read back from the file that they were written to.
 */
export class LogTail {
  #pieces: { stream: string; offset: number; data: Uint8Array }[] = [];
  #bytes = 0;

  /** What has just been written at `offset`. */
  add(stream: string, offset: number, data: Uint8Array): void {
    this.#pieces.push({ stream, offset, data });
    this.#bytes += data.length;
    while (this.#bytes > mostBytes || this.#pieces.length > mostPieces) {
      this.#bytes -= this.#pieces.shift()!.data.length;
    }
  }

  /** Some bytes from `offset` on; undefined where they are not here. */
  from(stream: string, offset: number): Uint8Array | undefined {
    const piece = this.#pieces.find((each) =>
      each.stream === stream && each.offset <= offset && offset < each.offset + each.data.length
    );
    return piece?.data.subarray(offset - piece.offset);
  }
}
