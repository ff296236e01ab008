/** Splits bytes into complete lines; text after the last line break is dropped. */
export function lineStream(): ReadableWritablePair<string, Uint8Array<ArrayBuffer>> {
  const decoder = new TextDecoder();
  let rest = "";
  return new TransformStream<Uint8Array<ArrayBuffer>, string>({
    transform(chunk, controller) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) controller.enqueue(line);
    },
  });
}
