/**
 * `unit` needs no server and runs in `npm run check`; `servers` starts the servers that a test file needs; `end-to-end` runs
 * on one stack that all of its files share (`test/support/end-to-end-setup.ts`).
 */
const common = {
  transform: {
    '^.+\\.[jt]s$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' } },
    ],
  },
  // An ES module only, which Jest loads as CommonJS.
  transformIgnorePatterns: ['/node_modules/(?!hyparquet/)'],
  moduleNameMapper: { '^reckon$': '<rootDir>/domain/pipeline.ts' },
  testEnvironment: 'node',
  // A clone's run folders may hold lakes with many files; none is a module.
  modulePathIgnorePatterns: ['<rootDir>/.reckon/'],
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
      testMatch: ['<rootDir>/test/servers/**/*.test.ts'],
      setupFilesAfterEnv: ['<rootDir>/test/support/server-timeouts.ts'],
    },
    {
      ...common,
      displayName: 'end-to-end',
      testMatch: ['<rootDir>/test/end-to-end/**/*.test.ts'],
      setupFilesAfterEnv: ['<rootDir>/test/support/server-timeouts.ts'],
      globalSetup: '<rootDir>/test/support/end-to-end-setup.ts',
      globalTeardown: '<rootDir>/test/support/end-to-end-teardown.ts',
    },
  ],
};
export default config;
