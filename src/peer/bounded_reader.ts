import { BinaryReader } from "@bufbuild/protobuf/wire";

/**
 * Numbers that are read from one message: tags, lengths and values. A hello that holds 20,000 attempts
 * has 160,000 of them, and no other message that is in bounds has more.
 */
const maxNumbers = 250_000;

/**
 * Reads a message for the generated decoders, which take a reader in place of bytes. Stops at a message
 * of very many small parts: 4 MiB of empty ones would hold the event loop for a second, before anything
 * could look at their number.
 */
export class BoundedReader extends BinaryReader {
  constructor(bytes: Uint8Array) {
    super(bytes);
    const read = this.uint32;
    let left = maxNumbers;
    this.uint32 = () => {
      if (--left < 0) throw new RangeError("The message has too many parts");
      return read.call(this);
    };
  }
}

/** Smaller messages cannot have that many. */
export const boundedFromBytes = maxNumbers / 2;
