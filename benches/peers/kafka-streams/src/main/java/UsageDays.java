import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams: one processor with two stores, the ids that were seen and the days of accounts. The stores
 * are in memory, each with its changelog topic (the default), the days behind the record cache.
 *
 * <p>Called as the peers in Python are (peer.py tells how), with the same flags.
 */
public final class UsageDays {
    private static final String IDS = "ids";
    private static final String DAYS = "days";
    /** The embedded broker compacts no topic; what is written is the same. */
    private static final Map<String, String> CHANGELOG = Map.of("cleanup.policy", "delete");

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final BufferedReader RUNNER = new BufferedReader(new InputStreamReader(System.in));

    /** What is read of an event. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Event(
            String event_id, String account_id, String user_id, String type, String name, String occurred_at) {}

    /** What an account did on a day. */
    public static final class Day {
        public long events;
        public long logins;
        public TreeSet<String> users = new TreeSet<>();
        public Map<String, Long> features = new HashMap<>();
    }

    private static final class Fold extends ContextualProcessor<String, Event, Void, Void> {
        private final AtomicLong seen;
        private KeyValueStore<String, byte[]> ids;
        private KeyValueStore<String, Day> days;

        Fold(AtomicLong seen) {
            this.seen = seen;
        }

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            super.init(context);
            ids = context.getStateStore(IDS);
            days = context.getStateStore(DAYS);
        }

        @Override
        public void process(Record<String, Event> record) {
            Event event = record.value();
            if (ids.putIfAbsent(event.account_id() + '\t' + event.event_id(), new byte[0]) == null) {
                String place = event.account_id() + '\t' + event.occurred_at().substring(0, 10);
                Day day = days.get(place);
                if (day == null) {
                    day = new Day();
                }
                day.events++;
                day.users.add(event.user_id());
                if (event.type().equals("login")) {
                    day.logins++;
                } else {
                    day.features.merge(event.name(), 1L, Long::sum);
                }
                days.put(place, day);
            }
            seen.incrementAndGet();
        }
    }

    private static <T> Serde<T> json(Class<T> type) {
        Serializer<T> write = (topic, value) -> {
            try {
                return value == null ? null : JSON.writeValueAsBytes(value);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        };
        Deserializer<T> read = (topic, bytes) -> {
            try {
                return bytes == null ? null : JSON.readValue(bytes, type);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        };
        return Serdes.serdeFrom(write, read);
    }

    private static void tell(String word) throws IOException {
        System.out.println(word);
        if (RUNNER.readLine() == null) {
            throw new IOException("the runner is gone");
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> flags = new HashMap<>();
        for (int at = 0; at + 1 < arguments.length; at += 2) {
            flags.put(arguments[at], arguments[at + 1]);
        }
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, flags.get("--brokers"));
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, flags.get("--group"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, flags.get("--folder"));
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);

        long records = Long.parseLong(flags.get("--records"));
        AtomicLong seen = new AtomicLong();
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
                Stores.inMemoryKeyValueStore(IDS), Serdes.String(), Serdes.ByteArray())
                .withLoggingEnabled(CHANGELOG));
        builder.addStateStore(Stores.keyValueStoreBuilder(
                        Stores.inMemoryKeyValueStore(DAYS), Serdes.String(), json(Day.class))
                .withCachingEnabled()
                .withLoggingEnabled(CHANGELOG));
        builder.stream(flags.get("--topic"), Consumed.with(Serdes.String(), json(Event.class)))
                .process(() -> new Fold(seen), IDS, DAYS);

        CountDownLatch failed = new CountDownLatch(1);
        try (KafkaStreams streams = new KafkaStreams(builder.build(), properties)) {
            streams.setUncaughtExceptionHandler(error -> {
                error.printStackTrace();
                failed.countDown();
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            tell("ready " + AppInfoParser.getVersion());
            streams.start();
            while (seen.get() < records) {
                if (failed.await(50, java.util.concurrent.TimeUnit.MILLISECONDS)) {
                    System.exit(1);
                }
            }
            tell("done");
            write(Path.of(flags.get("--answer")), streams);
        }
    }

    private static void write(Path answer, KafkaStreams streams) throws IOException {
        var days = streams.store(StoreQueryParameters.fromNameAndType(
                DAYS, QueryableStoreTypes.<String, Day>keyValueStore()));
        try (var lines = Files.newBufferedWriter(answer);
                var all = days.all()) {
            while (all.hasNext()) {
                var next = all.next();
                Day day = next.value;
                lines.write(next.key + '\t' + day.events + '\t' + day.logins + '\t' + day.users.size() + '\t'
                        + JSON.writeValueAsString(day.features) + '\n');
            }
        }
    }
}
