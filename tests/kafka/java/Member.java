import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A member of a group, of Kafka's own kind: ADDRESSES TOPIC GROUP. Prints what each poll hands out,
 * and an empty line; commits once it is given a line, and ends when there are no more.
 */
public class Member {
    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", args[0],
                "group.id", args[2],
                "partition.assignment.strategy", CooperativeStickyAssignor.class.getName(),
                "key.deserializer", StringDeserializer.class.getName(),
                "value.deserializer", StringDeserializer.class.getName(),
                "auto.offset.reset", "earliest",
                "enable.auto.commit", "false",
                "request.timeout.ms", "2000",
                "metadata.max.age.ms", "2000");
        PrintStream said = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader told = new BufferedReader(
                new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.subscribe(List.of(args[1]));
            boolean goesOn = true;
            while (goesOn) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(500))) {
                    said.printf("Partition:%d\tOffset:%d\t%s\t%s%n", record.partition(),
                            record.offset(), record.key(), record.value());
                }
                said.println();
                said.flush();
                goesOn = told.readLine() != null;
                try {
                    consumer.commitSync();
                } catch (RebalanceInProgressException | CommitFailedException rebalances) {
                    // Whoever gets these partitions may read some records again.
                }
            }
        }
    }
}
