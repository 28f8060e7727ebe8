import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TransactionalIdAuthorizationException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What Kafka's own client has to see, or fail: called by ../run, which says what for.
 *
 *     Check work ADDRESS VECTORS        produces the matrix, and does the rest without groups
 *     Check read ADDRESS TOPIC...       each has the records of the matrix
 *     Check group ADDRESS PREFIX        groups and administration, see Groups
 *     Check member ADDRESS GROUP TOPIC  consumes until SIGTERM, and commits what it has printed
 *     Check locked ADDRESS CA           logs in over TLS as alice, see Locked
 */
public class Check {
    static final int RECORDS = 200;
    /** For anything. */
    static final Duration TIMEOUT = Duration.ofSeconds(30);
    /** Of the first record whose time is given; each is a second later than the one before. */
    static final long FIRST_TIME = 1_700_000_000_000L;

    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final List<String> ACKS = List.of("0", "1", "all", "idempotent");
    private static final List<Header> HEADERS = List.of(
            new RecordHeader("a", bytes("1")), new RecordHeader("a", bytes("2")),
            new RecordHeader("empty", bytes("")));

    private static int checks = 0;

    final String address;

    Check(String address) {
        this.address = address;
    }

    public static void main(String[] args) {
        Check check = new Check(args[1]);
        List<String> rest = List.of(args).subList(2, args.length);
        try {
            switch (args[0]) {
                case "work" -> check.work(Path.of(rest.get(0)));
                case "read" -> check.read(rest);
                case "locked" -> new Locked(check, rest.get(0)).all();
                case "group" -> new Groups(check, rest.get(0)).all();
                case "member" -> {
                    check.member(rest.get(0), rest.get(1));
                    return;
                }
                default -> throw new IllegalArgumentException(args[0]);
            }
            System.out.println("checks " + checks);
        } catch (Throwable error) {
            error.printStackTrace();
            // Consumers that are still there would not let it end.
            Runtime.getRuntime().halt(1);
        }
    }

    static void same(String what, Object seen, Object expected) {
        if (!Objects.equals(seen, expected)) {
            throw new AssertionError(what + " differs from what is expected\nseen: " + seen
                    + "\nexpected: " + expected);
        }
        checks++;
    }

    /** Asks until it is done. */
    static void until(String what, BooleanSupplier isDone) {
        long begin = System.nanoTime();
        while (!isDone.getAsBoolean()) {
            if (System.nanoTime() - begin > TIMEOUT.toNanos()) {
                throw new AssertionError("not done in " + TIMEOUT + ": " + what);
            }
        }
    }

    static <T> T get(Future<T> future) {
        try {
            return future.get(TIMEOUT.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException error) {
            throw new IllegalStateException(error.getCause());
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    /** That it fails with just this error. */
    static void refused(String what, Future<?> future, Class<? extends Exception> expected) {
        Object seen;
        try {
            seen = future.get(TIMEOUT.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException error) {
            seen = error.getCause().getClass();
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
        same(what, seen, expected);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", address));
    }

    KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", address));
        settings.putAll(more);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    /** From the beginning, if there is nothing else to go by; it commits when it is told to. */
    KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", address,
                "auto.offset.reset", "earliest", "enable.auto.commit", false,
                "fetch.max.wait.ms", 20));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static List<TopicPartition> partitions(String topic, int count) {
        return IntStream.range(0, count).mapToObj(it -> new TopicPartition(topic, it)).toList();
    }

    void create(String topic, int partitions) {
        try (Admin admin = admin()) {
            get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all());
        }
    }

    List<RecordMetadata> produce(List<ProducerRecord<String, String>> records,
            Map<String, Object> settings) {
        try (var producer = producer(settings)) {
            List<Future<RecordMetadata>> told = records.stream().map(producer::send).toList();
            producer.flush();
            return told.stream().map(Check::get).toList();
        }
    }

    /** So many records from the beginning of each of these partitions, in the order they came. */
    private List<ConsumerRecord<String, String>> consume(List<TopicPartition> partitions,
            int count) {
        List<ConsumerRecord<String, String>> seen = new ArrayList<>();
        try (var consumer = consumer(Map.of())) {
            consumer.assign(partitions);
            until(count + " records", () -> {
                consumer.poll(Duration.ofSeconds(1)).forEach(seen::add);
                return seen.size() >= count;
            });
            consumer.endOffsets(partitions).forEach(
                    (it, end) -> same("position in " + it, consumer.position(it), end));
        }
        same("number of records", seen.size(), count);
        return seen;
    }

    private void work(Path vectors) throws Exception {
        matrix();
        hashing(vectors);
        nulls();
        sizes();
        transactions();
    }

    private static ProducerRecord<String, String> record(String topic, int number) {
        return new ProducerRecord<>(topic, null, String.format("key-%05d", number), String.format(
                "value-%05d and on and on and on and on and on and on", number), HEADERS);
    }

    private void matrix() {
        for (String codec : CODECS) {
            for (String acks : ACKS) {
                String topic = "java-" + codec + "-" + acks;
                boolean isIdempotent = acks.equals("idempotent");
                var told = produce(IntStream.range(0, RECORDS).mapToObj(at -> record(topic, at))
                        .toList(), Map.of("compression.type", codec, "acks",
                        isIdempotent ? "all" : acks, "enable.idempotence", isIdempotent,
                        "batch.size", 4000, "linger.ms", 20));
                same("offsets in " + topic, told.stream().map(RecordMetadata::offset).toList(),
                        acks.equals("0") ? Collections.nCopies(RECORDS, -1L) : offsets());
                waitForEnd(new TopicPartition(topic, 0));
                System.out.println("topic " + topic);
            }
        }
    }

    private static List<Long> offsets() {
        return LongStream.range(0, RECORDS).boxed().toList();
    }

    /** What was produced with acks of 0 may still be on its way. */
    private void waitForEnd(TopicPartition partition) {
        try (var consumer = consumer(Map.of())) {
            until("all is in " + partition, () ->
                    consumer.endOffsets(List.of(partition)).get(partition) == RECORDS);
        }
    }

    /** The default partitioner is murmur2, as Ottla's can be: the vectors hold both to it. */
    private void hashing(Path vectors) throws IOException {
        create("java-hashing", 12);
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        List<Integer> expected = new ArrayList<>();
        for (String line : Files.readAllLines(vectors)) {
            String[] row = line.split("\t");
            if (row[1].equals("12")) {
                byte[] key = HexFormat.of().parseHex(row[0]);
                records.add(new ProducerRecord<>("java-hashing", key, new byte[0]));
                expected.add(Integer.valueOf(row[3]));
            }
        }
        same("are there vectors", records.size() > 50, true);
        try (var producer = new KafkaProducer<>(Map.of("bootstrap.servers", address),
                new ByteArraySerializer(), new ByteArraySerializer())) {
            var told = records.stream().map(producer::send).toList();
            producer.flush();
            same("partitions of keys",
                    told.stream().map(it -> get(it).partition()).toList(), expected);
        }
    }

    private void nulls() {
        String topic = "java-nulls";
        var headers = List.<Header>of(new RecordHeader("null", (byte[]) null),
                new RecordHeader("", bytes("no name")));
        produce(List.of(new ProducerRecord<>(topic, null, "no key"),
                new ProducerRecord<>(topic, "no value", null),
                new ProducerRecord<>(topic, null, "", "", headers)), Map.of());
        var seen = consume(partitions(topic, 1), 3);
        same("null key", seen.get(0).key() == null && seen.get(0).value().equals("no key"), true);
        same("null value", seen.get(1).key().equals("no value") && seen.get(1).value() == null,
                true);
        same("empty", seen.get(2).key() + seen.get(2).value(), "");
        same("headers", List.of(seen.get(2).headers().toArray()), headers);
    }

    private void sizes() {
        String topic = "java-sizes";
        var over = Map.<String, Object>of("max.request.size", 9_000_000);
        String large = "0123456789".repeat(104_000);
        same("offset of a large record",
                produce(List.of(new ProducerRecord<>(topic, large)), over).get(0).offset(), 0L);
        try (var producer = producer(over)) {
            refused("one over the limit", producer.send(new ProducerRecord<>(topic, large + large)),
                    RecordTooLargeException.class);
        }
        same("a large record", consume(partitions(topic, 1), 1).get(0).value().equals(large), true);
    }

    private void transactions() {
        try (var producer = producer(Map.of("transactional.id", "java"))) {
            producer.initTransactions();
            throw new AssertionError("transactions began");
        } catch (TransactionalIdAuthorizationException error) {
            checks++;
        }
    }

    private void read(List<String> topics) {
        var partitions = topics.stream().map(it -> new TopicPartition(it, 0)).toList();
        var seen = consume(partitions, RECORDS * topics.size()).stream()
                .collect(Collectors.groupingBy(ConsumerRecord::topic));
        for (String topic : topics) {
            var its = seen.get(topic);
            same("offsets in " + topic, its.stream().map(ConsumerRecord::offset).toList(),
                    offsets());
            same(topic, its.stream().map(it -> List.of(it.key(), it.value(), it.headers()))
                    .toList(), IntStream.range(0, RECORDS).mapToObj(it -> record(topic, it))
                    .map(it -> List.of(it.key(), it.value(), it.headers())).toList());
        }
        System.out.println("records " + RECORDS * topics.size());
    }

    private void member(String group, String topic) {
        var consumer = consumer(Map.of("group.id", group,
                "partition.assignment.strategy", List.of(RangeAssignor.class)));
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            }
            // Otherwise the status says that it was a signal.
            Runtime.getRuntime().halt(0);
        }));
        try (consumer) {
            consumer.subscribe(List.of(topic));
            try {
                while (true) {
                    for (var record : consumer.poll(Duration.ofSeconds(1))) {
                        System.out.println("record " + record.partition() + " " + record.offset());
                    }
                    commit(consumer);
                }
            } catch (WakeupException stop) {
                commit(consumer);
            }
        }
    }

    private static void commit(KafkaConsumer<?, ?> consumer) {
        try {
            consumer.commitSync();
        } catch (CommitFailedException | RebalanceInProgressException error) {
            // Whoever has these partitions next begins where the last commit was.
            System.err.println(error.getMessage());
        }
    }
}
