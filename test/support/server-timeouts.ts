/** For tests on real servers: hooks and tests get three minutes (Jest ignores `testTimeout` in a project's settings). */
jest.setTimeout(180_000);
