/** All cases of `conformance.test.ts` on a real Redis Cluster of three nodes, with fewer generated logs. */
import '../support/on-redis-cluster.ts';
import './conformance.test.ts';

process.env['RECKON_RUNS'] ??= '5';
