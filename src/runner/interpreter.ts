import { appearanceOf } from "../base/fs/appearance.ts";

/** Enough for the first line of a script (the kernel takes 256 bytes) and the headers of a program. */
const headBytes = 4096;

/** Interpreters by file: reading each program at each start would take a fiftieth of the start. */
const known = new Map<string, string | undefined>();
const mostKnown = 256;

/**
 * Why the kernel would not find what has to run a file: it reports that as if the file itself were
 * missing (execve(2), ENOENT).
 */
export function interpreterProblem(path: string, info: Deno.FileInfo): string | undefined {
  const key = appearanceOf(info);
  if (!known.has(key)) {
    if (known.size >= mostKnown) known.clear();
    known.set(key, interpreterOf(path));
  }
  const interpreter = known.get(key);
  if (interpreter === undefined) return undefined;
  if (interpreter.endsWith("\r")) {
    return `has line ends of Windows (CR LF), so its interpreter would be ${
      JSON.stringify(interpreter)
    }`;
  }
  try {
    Deno.statSync(interpreter);
    return undefined;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) return undefined;
    return `needs the interpreter ${JSON.stringify(interpreter)}, which does not exist`;
  }
}

/** What a script names in its first line, or a dynamic program in its headers. */
function interpreterOf(path: string): string | undefined {
  const head = headOf(path);
  const text = new TextDecoder("latin1").decode(head);
  if (text.startsWith("#!")) {
    const line = text.slice(2).split("\n", 1)[0]!;
    return /^[ \t]*([^ \t]+)/.exec(line)?.[1];
  }
  return text.startsWith("\x7fELF") ? elfInterpreter(head) : undefined;
}

function headOf(path: string): Uint8Array {
  const buffer = new Uint8Array(headBytes);
  try {
    using file = Deno.openSync(path);
    return buffer.subarray(0, file.readSync(buffer) ?? 0);
  } catch {
    // A program may be executable and not readable.
    return new Uint8Array();
  }
}

/** PT_INTERP of a 64-bit little-endian ELF file (elf(5)); undefined for any other. */
function elfInterpreter(head: Uint8Array): string | undefined {
  if (head.length < 64 || head[4] !== 2 || head[5] !== 1) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const offset = Number(view.getBigUint64(32, true));
  const [size, count] = [view.getUint16(54, true), view.getUint16(56, true)];
  for (let index = 0; index < count; index++) {
    const at = offset + index * size;
    if (size < 56 || at + size > head.length) return undefined;
    if (view.getUint32(at, true) !== 3) continue;
    const start = Number(view.getBigUint64(at + 8, true));
    const end = head.indexOf(0, start);
    if (end < 0) return undefined;
    return new TextDecoder().decode(head.subarray(start, end));
  }
  return undefined;
}
