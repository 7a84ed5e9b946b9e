// What the agent is built from.
import type { Logger } from 'pino';
import type { AgentConfig } from '../config/schema.ts';

export interface WiringOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly logger: Logger;
  /** Ends every wait of the agent. */
  readonly shutdown: AbortSignal;
}
