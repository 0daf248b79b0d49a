/** A program for tests: a long-lived process that drains at once, and of which something stays behind that nobody ends. */
import { createLogger, runMain, runUntilShutdown } from '../../apps/main.ts';

await runMain(() =>
  runUntilShutdown(createLogger('lingering', 'info'), 'lingering', async () => {
    setInterval(() => undefined, 3_600_000);
    return { drain: async () => undefined };
  }),
);
