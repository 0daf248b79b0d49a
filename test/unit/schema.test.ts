/** Null and absent are the same where a property is optional; a required one is null only where its type says so. */
import { compileSchema } from '../../domain/schema.ts';

const validate = compileSchema({
  type: 'object',
  required: ['id', 'user'],
  properties: {
    id: { type: 'string' },
    status: { type: 'string', enum: ['paid', 'open'] },
    amount: { type: ['number'] },
    user: {
      type: 'object',
      required: ['id'],
      properties: { id: { type: 'integer' }, country: { type: 'string' } },
    },
  },
});

test.each([
  [{ id: 'a', user: { id: 1 } }, true],
  [{ id: 'a', user: { id: 1, country: null }, status: null, amount: null }, true],
  [{ id: 'a', user: { id: 1 }, status: 'paid', amount: 1.5 }, true],
  [{ id: null, user: { id: 1 } }, false],
  [{ id: 'a', user: null }, false],
  [{ id: 'a', user: { id: null } }, false],
  [{ id: 'a', user: { id: 1 }, status: 'lost' }, false],
  [{ id: 'a', user: { id: 1 }, amount: '1.5' }, false],
])('%j is valid: %s', (event, valid) => {
  expect(validate(event)).toBe(valid);
});
