/** The sample: departures of US domestic flights in 2001 (npm `vega-datasets`). Copy this file to begin your own. */
import { definePipeline } from 'reckon';

export default definePipeline({
  name: 'flights',
  event: {
    schema: {
      type: 'object',
      required: ['id', 'time', 'origin', 'destination', 'delay', 'distance'],
      properties: {
        id: { type: 'string' },
        time: { type: 'string' },
        origin: { type: 'string' },
        destination: { type: 'string' },
        delay: { type: 'integer' }, // minutes; negative = early
        distance: { type: 'integer' }, // miles
      },
    },
    id: 'id',
    time: 'time',
    key: 'origin',
  },
  aggregates: {
    daily_by_origin: {
      window: { tumbling: '1d' },
      groupBy: 'origin',
      measures: {
        flights: 'count',
        miles: { sum: 'distance' },
        earliest: { min: 'delay' },
        latest: { max: 'delay' },
        mean_delay: { avg: 'delay' },
      },
    },
    hourly_delayed: {
      window: { tumbling: '1h' },
      where: { delay: { gte: 15 } },
      measures: { flights: 'count', minutes_lost: { sum: 'delay' } },
    },
  },
  outOfOrder: '1h',
  allowedLateness: '1d',
  dedupHorizon: '1h',
  replay: {
    // '2001/01/14 21:55' in the JSON files, an ISO time in the Parquet file; both without an offset, taken as UTC.
    map: ({ date, ...flight }) => ({
      ...flight,
      time: `${String(date).replaceAll('/', '-').replace(' ', 'T').replace(/Z$/, '')}Z`,
    }),
  },
});
