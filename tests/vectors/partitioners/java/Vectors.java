import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

/** Reads keys (hex, one a line) and prints the partition chosen by the Java producer's default. */
public final class Vectors {
    private static final int[] PARTITION_COUNTS = {1, 2, 3, 6, 7, 12, 100, 1000};

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            byte[] key = HexFormat.of().parseHex(line);
            for (int partitions : PARTITION_COUNTS) {
                System.out.println(BuiltInPartitioner.partitionForKey(key, partitions));
            }
        }
    }
}
