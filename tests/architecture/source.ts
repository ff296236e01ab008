/** What the files of the program declare, read from their syntax trees. */
import { join } from "node:path";
import { sourceFiles } from "../../scripts/entries.ts";
import { root } from "./document.ts";

export interface Source {
  /** Relative to the root. */
  file: string;
  /** The names of functions, classes, types and constants that the file exports. */
  exports: { name: string; isFunction: boolean }[];
  functions: FoundFunction[];
  /** Lines of declarations with `using` whose variable is used once, at the start of the next statement. */
  inlinedUsings: number[];
}

export interface FoundFunction {
  /** Its own name, or that of the variable or property that holds it. */
  name: string;
  /** From 1. */
  line: number;
  lines: number;
}

/** Every file below src/, without tests and generated code. */
export async function sources(): Promise<Source[]> {
  const found: Source[] = [];
  for await (const file of sourceFiles(root, "src")) {
    if (file.startsWith("src/peer/gen/")) continue;
    found.push(readSource(file, await Deno.readTextFile(join(root, file))));
  }
  return found;
}

/** Reads one file. The tree comes from Deno's linter, so that no parser has to be installed. */
export function readSource(file: string, text: string): Source {
  const source: Source = { file, exports: [], functions: [], inlinedUsings: [] };
  const lineAt = (offset: number) => text.slice(0, offset).split("\n").length;
  const functionFound = (node: Deno.lint.Node) => {
    const [start, end] = node.range;
    const line = lineAt(start);
    source.functions.push({ name: nameOf(node), line, lines: lineAt(end) - line + 1 });
  };
  const exported = (node: Deno.lint.ExportNamedDeclaration) => {
    const { declaration } = node;
    if (declaration === null) return;
    const isFunction = declaration.type === "FunctionDeclaration";
    const declared = declaration.type === "VariableDeclaration"
      ? declaration.declarations
      : [declaration];
    for (const one of declared) {
      if ("id" in one && one.id?.type === "Identifier") {
        source.exports.push({ name: one.id.name, isFunction });
      }
    }
  };
  const block = ({ body }: { body: Deno.lint.Statement[] }) => {
    for (const [at, statement] of body.entries()) {
      if (statement.type !== "VariableDeclaration" || !statement.kind.endsWith("using")) continue;
      const { id } = statement.declarations[0]!;
      if (id.type !== "Identifier") continue;
      const used = (each: Deno.lint.Statement) =>
        [...text.slice(...each.range).matchAll(new RegExp(`\\b${id.name}\\b`, "g"))].length;
      const [next = 0, ...rest] = body.slice(at + 1).map(used);
      const after = text.slice(...body[at + 1]?.range ?? [0, 0]);
      const isPlain = new RegExp(`^(await |void )?${id.name}\\b`).test(after);
      if (isPlain && next === 1 && rest.every((count) => count === 0)) {
        source.inlinedUsings.push(lineAt(statement.range[0]));
      }
    }
  };
  const create = (): Deno.lint.LintVisitor => ({
    BlockStatement: block,
    ExportNamedDeclaration: exported,
    FunctionDeclaration: functionFound,
    FunctionExpression: functionFound,
    ArrowFunctionExpression: functionFound,
  });
  Deno.lint.runPlugin({ name: "sources", rules: { read: { create } } }, file, text);
  return source;
}

function nameOf(node: Deno.lint.Node): string {
  if ("id" in node && node.id?.type === "Identifier") return node.id.name;
  const { parent } = node as { parent?: Deno.lint.Node };
  if (parent?.type === "VariableDeclarator" && parent.id.type === "Identifier") {
    return parent.id.name;
  }
  const isNamed = parent?.type === "Property" || parent?.type === "MethodDefinition";
  return isNamed && parent.key.type === "Identifier" ? parent.key.name : "(function)";
}
