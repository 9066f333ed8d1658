import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The Java client against a Kafka-compatible broker: see README.md. */
public class Check {
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    static final int PER_CODEC = 1000;
    static final int PARTITIONS = 4;
    static final long DEADLINE = System.nanoTime() + Duration.ofSeconds(60).toNanos();

    static String bootstrap;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        String topic = "java-" + UUID.randomUUID();
        String group = "g-" + UUID.randomUUID();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
        }
        Set<String> sent = new HashSet<>();
        for (String codec : CODECS) {
            sent.addAll(produce(topic, codec, 0, PER_CODEC));
        }

        Set<String> seen = new HashSet<>();
        List<KafkaConsumer<String, String>> members = List.of(join(topic, group), join(topic, group));
        boolean shared = false;
        while (seen.size() < sent.size() || !shared) {
            expectTime(seen.size() + " of " + sent.size() + " records came, shared: " + shared);
            shared = true;
            for (KafkaConsumer<String, String> member : members) {
                read(member, seen);
                shared &= member.assignment().size() == PARTITIONS / 2;
            }
        }
        expect(seen.equals(sent), "the records are not the ones that were sent");
        for (KafkaConsumer<String, String> member : members) {
            member.commitSync();
            member.close();
        }

        Set<String> later = produce(topic, "none", PER_CODEC, PER_CODEC + 100);
        Set<String> again = new HashSet<>();
        try (KafkaConsumer<String, String> third = join(topic, group)) {
            while (again.size() < later.size()) {
                expectTime(again.size() + " of " + later.size() + " new records came");
                read(third, again);
            }
        }
        expect(again.equals(later), "the group did not go on where it was");
        System.out.println("kafka-clients: ok");
    }

    static Set<String> produce(String topic, String codec, int from, int to) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap,
            "compression.type", codec,
            "enable.idempotence", "true",
            "key.serializer", StringSerializer.class,
            "value.serializer", StringSerializer.class);
        Set<String> values = new HashSet<>();
        List<java.util.concurrent.Future<?>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings)) {
            for (int number = from; number < to; number++) {
                String value = codec + "-" + number;
                values.add(value);
                sent.add(producer.send(new ProducerRecord<>(topic, "k" + value, value)));
            }
            for (java.util.concurrent.Future<?> delivery : sent) {
                delivery.get();
            }
        }
        return values;
    }

    static KafkaConsumer<String, String> join(String topic, String group) {
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(Map.of(
            "bootstrap.servers", bootstrap,
            "group.id", group,
            "auto.offset.reset", "earliest",
            "enable.auto.commit", "false",
            "heartbeat.interval.ms", "300",
            "partition.assignment.strategy", CooperativeStickyAssignor.class.getName(),
            "key.deserializer", StringDeserializer.class,
            "value.deserializer", StringDeserializer.class));
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    static void read(KafkaConsumer<String, String> consumer, Set<String> seen) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
            expect(record.key().equals("k" + record.value()), "a key does not belong to its value");
            seen.add(record.value());
        }
    }

    static void expectTime(String progress) {
        expect(System.nanoTime() < DEADLINE, progress);
    }

    static void expect(boolean holds, String otherwise) {
        if (!holds) {
            System.err.println("kafka-clients: " + otherwise);
            System.exit(1);
        }
    }
}
