/**
 * Parses one YAML document.
 *
 * @throws {SyntaxError} where the text is not YAML.
 */
export function parse(content: string, options?: { schema?: "core" | "failsafe" }): unknown;

/** Writes a value as YAML. */
export function stringify(data: unknown): string;
