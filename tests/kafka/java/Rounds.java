import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Produces and consumes at two brokers by turns, from one virtual machine, with the client's
 * default settings; each is the first in every other round. `figures` makes a table of it.
 *
 * A round: a topic is created, `count` records of random bytes are produced, then all consumed by
 * three consumers, one after another, and the topic is deleted. A record for each partition, before
 * the first, is not counted: with that the producer has connected, and the broker is ready. What
 * was produced is on the disk before it is consumed: else the kernel writes it back meanwhile, on
 * the same processors.
 *
 * Prints, with tabs between: the settings, then for each round of each load
 *
 *     round SIZE PARTITIONS produce|consume BROKER RECORDS_A_SECOND CPU_SECONDS_A_MILLION BUSY
 *
 * where BUSY is the part of the time in which the client's own thread was at work (a consumer has
 * no other): at 1, nothing that a broker does would make it faster.
 *
 * and once a load is done, `done SIZE PARTITIONS` and how many rounds were discarded before.
 */
public class Rounds {
    private static final int[] PARTITIONS = {1, 6};

    /** Rounds are discarded until so many have not lowered the second broker's CPU by a 20th. */
    private static final int SETTLED = 2;
    private static final double LOWER = 0.95;
    private static final int MAX_DISCARDED = 12;

    /** The kernel counts so many a second for whoever asks in /proc. */
    private static final double TICKS = 100;

    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final int VALUES = 1024;
    private static final int CONSUMED = 3;

    private record Broker(String name, String address, long pid) {
        Map<String, Object> bootstrap() {
            return Map.of("bootstrap.servers", address);
        }

        /** Processor time of all its threads, the kernel's part included, in ticks. */
        long ticks() throws IOException {
            String stat = Files.readString(Path.of("/proc/" + pid + "/stat"));
            // The name of the program is in parentheses, and may hold anything.
            String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
            return Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
        }
    }

    private record Load(int size, int partitions, int count) {}

    private record Cost(double rate, double cpu, double busy) {}

    private interface Work {
        void run() throws Exception;
    }

    private final List<Broker> brokers = new ArrayList<>();
    private final List<byte[]> values = new ArrayList<>();
    private int topics = 0;

    /** `Rounds ROUNDS SIZE:COUNT,SIZE:COUNT NAME ADDRESS PID NAME ADDRESS PID` */
    public static void main(String[] args) throws Exception {
        Rounds rounds = new Rounds();
        for (int at = 2; at < args.length; at += 3) {
            rounds.brokers.add(new Broker(args[at], args[at + 1], Long.parseLong(args[at + 2])));
        }
        printSettings();
        for (String load : args[1].split(",")) {
            int size = Integer.parseInt(load.split(":")[0]);
            int count = Integer.parseInt(load.split(":")[1]);
            for (int partitions : PARTITIONS) {
                rounds.run(new Load(size, partitions, count), Integer.parseInt(args[0]));
            }
        }
    }

    private void run(Load load, int rounds) throws Exception {
        Random random = new Random(load.size);
        values.clear();
        for (int i = 0; i < VALUES; i++) {
            byte[] value = new byte[load.size];
            random.nextBytes(value);
            values.add(value);
        }
        // With one round nothing is to be learnt.
        int discarded = rounds > 1 ? warmUp(load) : 0;
        for (int number = 0; number < rounds; number++) {
            round(load, number, true);
        }
        print("done", load.size, load.partitions, discarded, load.count);
    }

    private int warmUp(Load load) throws Exception {
        double least = Double.MAX_VALUE;
        int discarded = 0;
        for (int settled = 0; settled < SETTLED && discarded < MAX_DISCARDED; discarded++) {
            double cpu = round(load, discarded, false);
            settled = cpu > least * LOWER ? settled + 1 : 0;
            least = Math.min(least, cpu);
        }
        return discarded;
    }

    /** All brokers once. Returns the second's processor time. */
    private double round(Load load, int number, boolean isPrinted) throws Exception {
        double[] cpu = new double[brokers.size()];
        for (int i = 0; i < cpu.length; i++) {
            int turn = (i + number) % cpu.length;
            cpu[turn] = round(load, brokers.get(turn), isPrinted);
        }
        return cpu[1];
    }

    private double round(Load load, Broker broker, boolean isPrinted) throws Exception {
        String topic = "figures-" + topics++;
        try (Admin admin = Admin.create(broker.bootstrap())) {
            NewTopic created = new NewTopic(topic, load.partitions, (short) 1);
            admin.createTopics(List.of(created)).all().get();
            Cost produced = produce(load, broker, topic);
            sync();
            List<Cost> passes = new ArrayList<>();
            for (int pass = 0; pass < CONSUMED; pass++) {
                passes.add(consume(load, broker, topic));
            }
            Cost consumed = mean(passes);
            admin.deleteTopics(List.of(topic)).all().get();
            if (isPrinted) {
                print("round", load.size, load.partitions, "produce", broker.name, produced);
                print("round", load.size, load.partitions, "consume", broker.name, consumed);
            }
            return produced.cpu + consumed.cpu;
        }
    }

    private Cost produce(Load load, Broker broker, String topic) throws Exception {
        Exception[] failure = new Exception[1];
        Callback told = (metadata, error) -> {
            if (error != null) {
                failure[0] = error;
            }
        };
        try (var producer = new KafkaProducer<>(producerSettings(broker),
                new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int partition = 0; partition < load.partitions; partition++) {
                producer.send(new ProducerRecord<>(topic, partition, null, values.get(0))).get();
            }
            Cost cost = measure(load, broker, () -> {
                for (int i = 0; i < load.count; i++) {
                    producer.send(new ProducerRecord<>(topic, values.get(i % VALUES)), told);
                }
                producer.flush();
            });
            if (failure[0] != null) {
                throw failure[0];
            }
            return cost;
        }
    }

    private static Map<String, Object> producerSettings(Broker broker) {
        return Map.of("bootstrap.servers", broker.address, ProducerConfig.ACKS_CONFIG, "all");
    }

    private Cost consume(Load load, Broker broker, String topic) throws Exception {
        try (var consumer = new KafkaConsumer<>(broker.bootstrap(), new ByteArrayDeserializer(),
                new ByteArrayDeserializer())) {
            List<TopicPartition> all = IntStream.range(0, load.partitions)
                    .mapToObj(number -> new TopicPartition(topic, number)).toList();
            consumer.assign(all);
            consumer.seekToBeginning(all);
            // Connects, and asks where they begin. Nothing is fetched yet.
            all.forEach(consumer::position);
            return measure(load, broker, () -> receive(load, consumer));
        }
    }

    private static void receive(Load load, KafkaConsumer<byte[], byte[]> consumer) {
        int received = 0;
        while (received < load.count + load.partitions) {
            var records = consumer.poll(PATIENCE);
            if (records.isEmpty()) {
                throw new IllegalStateException("only " + received + " records have come");
            }
            for (ConsumerRecord<byte[], byte[]> record : records) {
                if (record.value().length != load.size) {
                    throw new IllegalStateException(record + " is not what was produced");
                }
            }
            received += records.count();
        }
    }

    /** What work costs that nothing else goes on beside. */
    private Cost measure(Load load, Broker broker, Work work) throws Exception {
        for (Broker each : brokers) {
            awaitQuiet(each);
        }
        var threads = ManagementFactory.getThreadMXBean();
        long ticks = broker.ticks();
        long own = threads.getCurrentThreadCpuTime();
        long began = System.nanoTime();
        work.run();
        double seconds = (System.nanoTime() - began) / 1e9;
        double busy = (threads.getCurrentThreadCpuTime() - own) / 1e9 / seconds;
        double cpu = (broker.ticks() - ticks) / TICKS;
        return new Cost(load.count / seconds, cpu * 1e6 / load.count, busy);
    }

    /** Of as many records each. */
    private static Cost mean(List<Cost> costs) {
        double seconds = costs.stream().mapToDouble(cost -> 1 / cost.rate).sum();
        double cpu = costs.stream().mapToDouble(Cost::cpu).sum();
        double busy = costs.stream().mapToDouble(cost -> cost.busy / cost.rate).sum() / seconds;
        return new Cost(costs.size() / seconds, cpu / costs.size(), busy);
    }

    private static void sync() throws Exception {
        int status = new ProcessBuilder("sync").inheritIO().start().waitFor();
        if (status != 0) {
            throw new IOException("sync has failed: " + status);
        }
    }

    /** Until the broker has done next to nothing for a moment, or five seconds are over. */
    private static void awaitQuiet(Broker broker) throws Exception {
        for (int looks = 0; looks < 25; looks++) {
            long before = broker.ticks();
            Thread.sleep(200);
            if (broker.ticks() - before <= 2) {
                return;
            }
        }
    }

    private static void printSettings() {
        ConfigDef producer = ProducerConfig.configDef();
        print("settings", "producer: acks=all", defaults(producer, "enable.idempotence",
                "linger.ms", "batch.size", "compression.type", "buffer.memory",
                "max.in.flight.requests.per.connection"));
        print("settings", "consumer:", defaults(ConsumerConfig.configDef(), "fetch.min.bytes",
                "fetch.max.bytes", "max.partition.fetch.bytes", "max.poll.records"));
    }

    private static String defaults(ConfigDef settings, String... names) {
        Map<String, Object> values = settings.defaultValues();
        return Stream.of(names).map(name -> name + "=" + values.get(name))
                .collect(Collectors.joining(" "));
    }

    private static void print(Object... fields) {
        List<String> texts = new ArrayList<>();
        for (Object field : fields) {
            texts.add(field instanceof Cost cost
                    ? String.format(Locale.ROOT, "%.1f\t%.4f\t%.3f", cost.rate, cost.cpu, cost.busy)
                    : field.toString());
        }
        System.out.println(String.join("\t", texts));
    }
}
