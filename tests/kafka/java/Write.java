import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Has Apache Kafka write a bit of everything: {@code java Write ADDRESS FROM TO}, records FROM to
 * TO of each topic. The topics are made for the records from 0 on.
 */
public class Write {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final long THEN = 1_600_000_000_000L;
    private static final int BATCH = 10;

    private final String address;
    private final int from;
    private final int to;

    private Write(String address, int from, int to) {
        this.address = address;
        this.from = from;
        this.to = to;
    }

    public static void main(String[] args) throws Exception {
        Write write = new Write(args[0], Integer.parseInt(args[1]), Integer.parseInt(args[2]));
        if (write.from == 0) {
            write.createTopics();
        }
        for (String codec : CODECS) {
            write.produce("codec-" + codec, codec);
        }
        write.produce("table", "none");
        write.transact();
        write.consume();
    }

    private void createTopics() throws Exception {
        // "internal": smaller segments than users may ask for.
        Map<String, String> small = Map.of("internal.segment.bytes", "3000",
                "index.interval.bytes", "500", "segment.index.bytes", "1200", "retention.ms", "-1");
        Map<String, String> table = new HashMap<>(small);
        table.putAll(Map.of("cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01"));
        List<NewTopic> topics = new java.util.ArrayList<>();
        for (String codec : CODECS) {
            topics.add(topic("codec-" + codec, small));
        }
        topics.add(topic("table", table));
        topics.add(topic("transactions", small));
        try (Admin admin = Admin.create(settings())) {
            admin.createTopics(topics).all().get();
        }
    }

    private static NewTopic topic(String name, Map<String, String> config) {
        return new NewTopic(name, Optional.of(1), Optional.empty()).configs(config);
    }

    private Map<String, Object> settings() {
        return new HashMap<>(Map.of("bootstrap.servers", address));
    }

    private KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> settings = settings();
        // Batches end where they are flushed.
        settings.put("linger.ms", 60_000);
        settings.putAll(more);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private void produce(String topic, String codec) {
        try (KafkaProducer<String, String> producer = producer(Map.of("compression.type", codec))) {
            for (int n = from; n < to; n++) {
                producer.send(record(topic, n));
                if (n % BATCH == BATCH - 1) {
                    producer.flush();
                }
            }
        }
    }

    /** In turns a transaction that is committed and one that is aborted. */
    private void transact() {
        Map<String, Object> transactional = Map.of("transactional.id", "writer");
        try (KafkaProducer<String, String> producer = producer(transactional)) {
            producer.initTransactions();
            for (int n = from; n < to; n++) {
                if (n % BATCH == 0) {
                    producer.beginTransaction();
                }
                producer.send(record("transactions", n));
                if (n % BATCH == BATCH - 1) {
                    producer.flush();
                    if (n / BATCH % 2 == 0) {
                        producer.commitTransaction();
                    } else {
                        producer.abortTransaction();
                    }
                }
            }
        }
    }

    private static ProducerRecord<String, String> record(String topic, int n) {
        boolean keyed = topic.equals("table");
        String key = keyed ? "key " + n % 13 : n % 3 == 0 ? null : "key " + n;
        String value = n % 5 == 0 ? null : "value " + n + " of " + topic;
        var record = new ProducerRecord<>(topic, 0, THEN + n / 2 * 10L, key, value);
        record.headers().add("n", Integer.toString(n).getBytes(StandardCharsets.UTF_8));
        record.headers().add("null", null);
        return record;
    }

    /** A member reads a topic to its end, and commits. */
    private void consume() {
        Map<String, Object> settings = settings();
        settings.putAll(Map.of("group.id", "readers", "auto.offset.reset", "earliest",
                "enable.auto.commit", false));
        StringDeserializer text = new StringDeserializer();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings, text, text)) {
            consumer.subscribe(List.of("codec-zstd"));
            for (int n = from; n < to;) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(30));
                if (records.isEmpty()) {
                    throw new IllegalStateException("no record came for half a minute");
                }
                n += records.count();
            }
            consumer.commitSync();
        }
    }
}
