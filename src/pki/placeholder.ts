/** What a certificate is called whose host has no name worth checking: trust goes by its chain. */
export const placeholderName = "agent-peer";
