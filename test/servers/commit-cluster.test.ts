/** All cases of `commit.test.ts` on a real Redis Cluster of three nodes. */
import '../support/on-redis-cluster.ts';
import './commit.test.ts';
