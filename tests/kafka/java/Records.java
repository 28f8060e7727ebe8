import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.internal.FileRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.Utils;

/** Prints what DumpLogSegments does not: bytes as they are, and the values of headers. */
class Records {
    /** A line a record: offset, timestamp, its type, key, value, headers. Bytes in hex. */
    static void print(Path log) throws Exception {
        try (FileRecords file = FileRecords.open(log.toFile(), false)) {
            for (RecordBatch batch : file.batches()) {
                batch.ensureValid();
                for (Record record : batch) {
                    System.out.println(line(batch, record));
                }
            }
        }
    }

    private static String line(RecordBatch batch, Record record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(header.key() + "=" + hex(header.value()));
        }
        return String.join(" ", Long.toString(record.offset()), Long.toString(record.timestamp()),
                batch.timestampType().name, hex(record.key()), hex(record.value()),
                "[" + String.join(",", headers) + "]");
    }

    private static String hex(ByteBuffer bytes) {
        return hex(bytes == null ? null : Utils.readBytes(bytes));
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? "null" : "'" + HexFormat.of().formatHex(bytes) + "'";
    }
}
