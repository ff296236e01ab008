import { joinBytes } from "../base/join_bytes.ts";
import { BinaryWriter } from "@bufbuild/protobuf/wire";

/** From here on copying bytes twice costs more than an array of parts. */
const largeBytes = 4 * 1024;

/**
 * Encodes messages, for the generated code. A large `bytes` field of the message itself is copied
 * once, into the result. The library's writer copies it into a buffer that it doubles until it fits,
 * and that into the result: for logs this was a third of what sending them cost.
 */
export class MessageWriter extends BinaryWriter {
  #parts: Uint8Array[] = [];
  #depth = 0;

  override fork(): this {
    this.#depth++;
    return super.fork();
  }

  override join(): this {
    this.#depth--;
    return super.join();
  }

  override bytes(value: Uint8Array): this {
    // The length of a nested message is written once it is known, before its bytes.
    if (value.length < largeBytes || this.#depth > 0) return super.bytes(value);
    this.uint32(value.length);
    this.#parts.push(super.finish(), value);
    return this;
  }

  override finish(): Uint8Array<ArrayBuffer> {
    const rest = super.finish();
    if (this.#parts.length === 0) return rest;
    const parts = [...this.#parts, rest];
    this.#parts = [];
    return joinBytes(parts);
  }
}
