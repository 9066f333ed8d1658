// Events by kafkajs, in the codecs that it has by itself or by its well-known plugins, with both of its
// partitioners; prints how many it sent.
const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, logLevel } = require("kafkajs");
const lz4 = require("lz4js");
const zlib = require("node:zlib");

CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
const codecs = ["None", "GZIP", "Snappy", "LZ4"];
// Node.js has zstd since 22.15.
if (zlib.zstdCompressSync) {
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async (encoder) => zlib.zstdCompressSync(encoder.buffer),
    decompress: async (buffer) => zlib.zstdDecompressSync(buffer),
  });
  codecs.push("ZSTD");
}

const PER_COMBINATION = 30;
const kafka = new Kafka({ brokers: [process.argv[2]], clientId: "events", logLevel: logLevel.ERROR });
const now = new Date().toISOString();

function message(label, number) {
  const account = `acme-${number % 7}`;
  const id = `${label}-${number}`;
  const key = [account, "not the account", null][number % 3];
  const cloud = { specversion: "1.0", id, source: "/app", type: "login", subject: account, time: now };
  switch (Math.floor(number / 3) % 4) {
    case 0:
      return { key, value: JSON.stringify({ event_id: id, account_id: account, type: "login", occurred_at: now }) };
    case 1:
      return { key, value: JSON.stringify(cloud), headers: { "content-type": "application/cloudevents+json" } };
    case 2: {
      const headers = Object.fromEntries(Object.entries(cloud).map(([name, text]) => [`ce_${name}`, text]));
      return { key, value: JSON.stringify({ user_id: "u" }), headers };
    }
    default: {
      const track = { type: "track", event: "Signed In", messageId: id, context: { groupId: account } };
      return { key, value: JSON.stringify(track) };
    }
  }
}

async function main() {
  let sent = 0;
  for (const partitioner of ["DefaultPartitioner", "LegacyPartitioner"]) {
    for (const codec of codecs) {
      const producer = kafka.producer({ createPartitioner: Partitioners[partitioner], idempotent: true });
      await producer.connect();
      const label = `kafkajs-${codec}-${partitioner}`;
      const messages = Array.from({ length: PER_COMBINATION }, (_, number) => message(label, number));
      await producer.send({ topic: "usage.events", compression: CompressionTypes[codec], messages });
      await producer.disconnect();
      sent += messages.length;
    }
  }
  console.log(sent);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
