/**
 * What a coordinator counts, for Prometheus. Labels come from closed lists of the code only: an id, a name or a message
 * in a label would grow without end and could carry what nobody may read.
 *
 * Counted per process and in memory. What is read from the database at a scrape is in farm-gauges.ts.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** From a local answer to a whole long poll (15 s), three steps a decade. */
const ANSWER_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15];

/** From a tiny tile to an hour, after which a task is given up. */
const TASK_SECONDS = [0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1_800, 3_600];

export type CoordinatorMetrics = ReturnType<typeof createMetrics>;

/** A registry of its own: two coordinators in one process (tests) do not share their numbers. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Gauge({ name, help, labelNames, registers });
  const histogram = <Label extends string>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: readonly Label[] = [],
  ) => new Histogram({ name, help, buckets, labelNames, registers });

  return {
    registry,
    leaseSeconds: histogram(
      'tessera_lease_seconds',
      "From a node's request for work to the tasks it was given, the wait for there being any included.",
      ANSWER_SECONDS,
    ),
    nodesWaiting: gauge('tessera_lease_requests_waiting', 'Requests for work that wait for an answer.'),
    leased: counter('tessera_tasks_leased_total', 'Tasks given to nodes.'),
    completed: counter('tessera_tasks_completed_total', 'Results that were taken.', ['kind']),
    taskSeconds: histogram(
      'tessera_task_seconds',
      'How long nodes say that they rendered, of results that were taken.',
      TASK_SECONDS,
      ['kind'],
    ),
    failures: counter('tessera_task_failures_total', 'Tasks that nodes gave back, by whose fault it was.', [
      'class',
    ]),
    leasesLost: counter('tessera_leases_lost_total', 'Leases that ran out because their node went silent.'),
    nodeRequests: counter('tessera_node_requests_total', 'What nodes asked, and how it was answered.', [
      'verb',
      'code',
    ]),
    jobsEnded: counter('tessera_jobs_ended_total', 'Jobs that ended, by how.', ['state']),
    batchesSettled: counter('tessera_batches_settled_total', 'Batches that were settled, by outcome.', [
      'outcome',
    ]),
    quarantines: counter('tessera_quarantines_total', 'Nodes that failed a check and got no more work.'),
    httpSeconds: histogram(
      'tessera_http_request_seconds',
      'Requests of the HTTP API, until the answer was out; an event stream counts until it ends.',
      ANSWER_SECONDS,
      ['method', 'route', 'status'],
    ),
    up: gauge('tessera_part_up', 'Whether a part that the coordinator needs answers (as in /readyz).', [
      'part',
    ]),
    queueDepth: gauge('tessera_queue_depth', 'Tasks on the to-do list of the message server.'),
    nodes: gauge('tessera_nodes', 'Nodes by state.', ['state']),
    openJobs: gauge('tessera_open_jobs', 'Jobs whose money has not all moved, by state.', ['state']),
    openBatches: gauge('tessera_open_batches', 'Batches that are not settled, by state.', ['state']),
    oldestBatch: gauge(
      'tessera_oldest_unsettled_batch_seconds',
      'Age of the oldest batch that is closed and not settled; 0 where there is none.',
    ),
    money: gauge(
      'tessera_money_in_flight_tokens',
      'Money in the escrow: unsettled = promised to batches without a payment, unspent = the rest of open jobs.',
      ['part'],
    ),
    diskFree: gauge('tessera_data_free_bytes', 'Free space where the data folder is.'),
  };
}
