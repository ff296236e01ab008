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
  const source: Source = { file, exports: [], functions: [] };
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
  const create = (): Deno.lint.LintVisitor => ({
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
