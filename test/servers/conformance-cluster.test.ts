/** All cases of `conformance.test.ts` on a real Redis Cluster of three nodes. */
import '../support/on-redis-cluster.ts';
import './conformance.test.ts';
