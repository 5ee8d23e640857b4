"use strict";
// fastify with pg; streams with pg-query-stream.

const { Transform } = require("node:stream");
const fastify = require("fastify");
const { Pool } = require("pg");
const QueryStream = require("pg-query-stream");

const pool = new Pool({
  connectionString: process.env.BENCH_DSN,
  max: Number(process.env.BENCH_POOL),
  idleTimeoutMillis: 0, // keep every connection, as the others do
});
const app = fastify({ logger: false });
const BATCH_ROWS = 1000;

app.post("/query", async (request) => {
  const { sql, params } = request.body;
  const result = await pool.query(sql, params);
  return result.rows;
});

app.post("/stream", async (request, reply) => {
  const { sql, params } = request.body;
  const client = await pool.connect();
  const rows = client.query(new QueryStream(sql, params, { batchSize: BATCH_ROWS, highWaterMark: BATCH_ROWS }));
  const lines = new Transform({
    writableObjectMode: true,
    transform(row, _encoding, done) {
      done(null, JSON.stringify(row) + "\n");
    },
  });
  rows.on("error", (error) => lines.destroy(error));
  lines.on("close", () => client.release());
  reply.type("application/x-ndjson");
  return reply.send(rows.pipe(lines));
});

app.listen({ host: "127.0.0.1", port: Number(process.env.BENCH_PORT) });
