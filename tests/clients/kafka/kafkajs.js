// kafkajs against a Kafka-compatible broker: see README.md. kafkajs has gzip built in and no other codec.
const assert = require("node:assert");
const { randomUUID } = require("node:crypto");
const { Kafka, CompressionTypes, logLevel } = require("kafkajs");

const kafka = new Kafka({ brokers: [process.argv[2]], clientId: "check", logLevel: logLevel.ERROR });
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP };
const PER_CODEC = 1000;
const PARTITIONS = 4;
const deadline = Date.now() + 60_000;

async function until(what, reached) {
  while (!reached()) {
    assert(Date.now() < deadline, `never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function produce(topic, codec, values) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let at = 0; at < values.length; at += 100) {
    const messages = values.slice(at, at + 100).map((value) => ({ key: `k${value}`, value, headers: { codec } }));
    await producer.send({ topic, compression: CODECS[codec], messages });
  }
  await producer.disconnect();
}

async function join(topic, groupId, seen) {
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 300 });
  const member = { consumer, assigned: 0 };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    member.assigned = (payload.memberAssignment[topic] || []).length;
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      const value = message.value.toString();
      assert.strictEqual(message.key.toString(), `k${value}`);
      assert(value.startsWith(`${message.headers.codec}-`));
      seen.add(value);
    },
  });
  return member;
}

async function main() {
  const topic = `kafkajs-${randomUUID()}`;
  const group = `g-${randomUUID()}`;
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS, replicationFactor: 1 }] });

  const sent = new Set();
  for (const codec of Object.keys(CODECS)) {
    const values = Array.from({ length: PER_CODEC }, (_, number) => `${codec}-${number}`);
    await produce(topic, codec, values);
    values.forEach((value) => sent.add(value));
  }
  const seen = new Set();
  const members = [await join(topic, group, seen), await join(topic, group, seen)];
  await until("the partitions are shared", () => members.every((member) => member.assigned === PARTITIONS / 2));
  await until("every record is read", () => seen.size >= sent.size);
  assert.deepStrictEqual([...seen].sort(), [...sent].sort());
  // Leaving commits what was read.
  for (const member of members) await member.consumer.disconnect();

  const later = Array.from({ length: 100 }, (_, number) => `none-${PER_CODEC + number}`);
  await produce(topic, "none", later);
  const again = new Set();
  const third = await join(topic, group, again);
  await until("the new records are read", () => again.size >= later.length);
  await third.consumer.disconnect();
  assert.deepStrictEqual([...again].sort(), later.sort());

  const { groups } = await admin.describeGroups([group]);
  assert.strictEqual(groups[0].state, "Empty");
  await admin.disconnect();
  console.log("kafkajs: ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
