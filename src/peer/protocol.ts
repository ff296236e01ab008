/** The version of the protocol in agent.proto; a change that an older side would misread raises it. */
export const protocolVersion = 1;
