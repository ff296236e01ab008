/** The kinds of key that are made here; in a file of its own, for the help text needs no more. */
export const keyTypes = ["ec-p256", "ec-p384", "rsa-3072", "ed25519"] as const;
export type KeyType = (typeof keyTypes)[number];

/** The fastest of those that every client takes. */
export const defaultKeyType: KeyType = "ec-p256";
