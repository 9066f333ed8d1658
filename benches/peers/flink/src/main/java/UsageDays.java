import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.runtime.util.EnvironmentInformation;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * Flink: a keyed process function with the ids and the days of each account in heap state, on two slots of a
 * local cluster in this process. The topic is read to its end, and then each account tells its days.
 *
 * <p>Without checkpoints, which is its fastest form. Called as the peers in Python are (peer.py tells how),
 * with the same flags.
 */
public final class UsageDays {
    private static final BufferedReader RUNNER = new BufferedReader(new InputStreamReader(System.in));

    /** What is read of an event. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Event {
        public String event_id;
        public String account_id;
        public String user_id;
        public String type;
        public String name;
        public String occurred_at;
    }

    /** What an account did on a day. */
    public static final class Day {
        public long events;
        public long logins;
        public Set<String> users = new HashSet<>();
        public Map<String, Long> features = new HashMap<>();
    }

    private static final class Json extends AbstractDeserializationSchema<Event> {
        private transient ObjectMapper json;

        @Override
        public void open(InitializationContext context) {
            json = new ObjectMapper();
        }

        @Override
        public Event deserialize(byte[] bytes) throws IOException {
            return json.readValue(bytes, Event.class);
        }
    }

    private static final class Fold extends KeyedProcessFunction<String, Event, String> {
        private transient MapState<String, Boolean> ids;
        private transient MapState<String, Day> days;
        private transient ObjectMapper json;

        @Override
        public void open(OpenContext context) {
            ids = getRuntimeContext().getMapState(new MapStateDescriptor<>("ids", String.class, Boolean.class));
            days = getRuntimeContext().getMapState(new MapStateDescriptor<>("days", String.class, Day.class));
            json = new ObjectMapper();
        }

        @Override
        public void processElement(Event event, Context context, Collector<String> out) throws Exception {
            if (ids.contains(event.event_id)) {
                return;
            }
            ids.put(event.event_id, true);
            String date = event.occurred_at.substring(0, 10);
            Day day = days.get(date);
            if (day == null) {
                day = new Day();
                // Time reaches its end when the topic does.
                context.timerService().registerEventTimeTimer(Long.MAX_VALUE);
            }
            day.events++;
            day.users.add(event.user_id);
            if (event.type.equals("login")) {
                day.logins++;
            } else {
                day.features.merge(event.name, 1L, Long::sum);
            }
            days.put(date, day);
        }

        @Override
        public void onTimer(long at, OnTimerContext context, Collector<String> out) throws Exception {
            for (Map.Entry<String, Day> entry : days.entries()) {
                out.collect(line(context.getCurrentKey(), entry.getKey(), entry.getValue()));
            }
        }

        private String line(String account, String date, Day day) throws JsonProcessingException {
            return String.join(
                    "\t",
                    account,
                    date,
                    Long.toString(day.events),
                    Long.toString(day.logins),
                    Integer.toString(day.users.size()),
                    json.writeValueAsString(day.features));
        }
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
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(2);
        environment.getConfig().enableObjectReuse();
        KafkaSource<Event> source = KafkaSource.<Event>builder()
                .setBootstrapServers(flags.get("--brokers"))
                .setTopics(flags.get("--topic"))
                .setGroupId(flags.get("--group"))
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setBounded(OffsetsInitializer.latest())
                .setProperty("max.poll.records", "10000")
                .setValueOnlyDeserializer(new Json())
                .build();
        List<String> days = new ArrayList<>();

        tell("ready " + EnvironmentInformation.getVersion());
        try (var lines = environment
                .fromSource(source, WatermarkStrategy.noWatermarks(), "events")
                .keyBy(event -> event.account_id)
                .process(new Fold())
                .executeAndCollect()) {
            lines.forEachRemaining(days::add);
        }
        tell("done");

        Files.write(Path.of(flags.get("--answer")), days);
        System.exit(0);
    }
}
