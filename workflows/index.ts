/** Every workflow that the worker runs; the names of these exports are the workflow types in the Temporal UI. */
export { reconciliation } from './reconciliation.ts';
