import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/** Lets Apache Kafka's own log open a copy of a partition's folder. */
class Load {
    private static final int DAY_MS = 24 * 3600 * 1000;

    /**
     * As after a shutdown, when it trusts the indexes and snapshots that it finds; or as after a
     * crash, when it reads everything and makes them anew. Prints what it then knows.
     */
    static void load(Path partition, boolean clean) throws Exception {
        Path scratch = Files.createTempDirectory("ottla-load");
        try {
            Path copy = copy(partition, scratch.resolve(partition.getFileName().toString()));
            KafkaScheduler scheduler = new KafkaScheduler(1);
            scheduler.startup();
            try (BrokerTopicStats stats = new BrokerTopicStats()) {
                UnifiedLog log = UnifiedLog.create(copy.toFile(), new LogConfig(Map.of()), 0L, 0L,
                        scheduler, stats, Time.SYSTEM, DAY_MS,
                        new ProducerStateManagerConfig(Integer.MAX_VALUE, false), DAY_MS,
                        new LogDirFailureChannel(1), clean, Optional.empty());
                print(log);
                log.close();
            } finally {
                scheduler.shutdown();
            }
        } finally {
            Utils.delete(scratch.toFile());
        }
    }

    private static Path copy(Path from, Path to) throws IOException {
        Files.createDirectory(to);
        try (Stream<Path> files = Files.list(from)) {
            for (Path file : files.toList()) {
                Files.copy(file, to.resolve(file.getFileName()));
            }
        }
        return to;
    }

    private static void print(UnifiedLog log) {
        System.out.println("start " + log.logStartOffset());
        System.out.println("end " + log.logEndOffset());
        System.out.println("segments " + log.numberOfSegments());
        System.out.println("bytes " + log.size());
        System.out.println("topic id " + log.topicId().map(Object::toString).orElse("none"));
        System.out.println("epochs " + log.leaderEpochCache().epochEntries().stream()
                .map(entry -> entry.epoch() + "@" + entry.startOffset())
                .collect(Collectors.joining(" ")));
        System.out.println("producers " + log.activeProducersWithLastSequence().entrySet().stream()
                .sorted(Map.Entry.comparingByKey())
                .map(producer -> producer.getKey() + ":" + producer.getValue())
                .collect(Collectors.joining(" ")));
    }
}
