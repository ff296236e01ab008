/**
 * Begins what the first TLS connection of a process would wait for: its cryptography takes 35 ms to set
 * itself up. Here that happens on another thread while the caller goes on (Deno 2.7 and 2.9). This can go
 * when the first connection of a process takes no longer than its second.
 */
export function prepareTls(): void {
  crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign"])
    .catch(() => {/* The connection will report it. */});
}
