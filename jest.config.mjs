/** `unit` needs no server and runs in `npm run check`; `servers` runs on the project's own stack (`npm test`). */
const common = {
  transform: {
    '^.+\\.[jt]s$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' } },
    ],
  },
  moduleNameMapper: { '^reckon$': '<rootDir>/domain/pipeline.ts' },
  testEnvironment: 'node',
};

/** @type {import('jest').Config} */
const config = {
  projects: [
    {
      ...common,
      displayName: 'unit',
      testMatch: [
        '<rootDir>/test/unit/**/*.test.ts',
        '<rootDir>/test/property/**/*.test.ts',
        '<rootDir>/test/architecture/**/*.test.ts',
      ],
    },
    {
      ...common,
      displayName: 'servers',
      testMatch: ['<rootDir>/test/servers/**/*.test.ts', '<rootDir>/test/end-to-end/**/*.test.ts'],
      testTimeout: 180_000,
    },
  ],
};
export default config;
