import { configureTextEncoding, getTextEncoding } from "@bufbuild/protobuf/wire";

/**
 * Refuses text in messages that is not UTF-8, as the protobuf specification wants it; the library
 * would put a replacement character in its place, and a program's argument would be another.
 */
export function refuseBadText(): void {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  configureTextEncoding({
    ...getTextEncoding(),
    decodeUtf8: (bytes) => decoder.decode(bytes),
  });
}
