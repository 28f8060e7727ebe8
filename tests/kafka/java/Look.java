import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.DumpLogSegments;

/**
 * Shows all files below a folder to Apache Kafka, in one JVM: {@code java Look DIRS SAID}.
 *
 * What is said of DIRS/a/b goes to SAID/a/b.HOW, and complaints to SAID/a/b.HOW.err, for each way
 * HOW of looking. It judges nothing.
 */
public class Look {
    private static final PrintStream OUT = System.out;
    private static final PrintStream ERR = System.err;

    private interface Eye {
        void look() throws Exception;
    }

    /** In place of the JVM's end. */
    private static class Exited extends RuntimeException {
        private static final long serialVersionUID = 1;

        final int code;

        Exited(int code) {
            this.code = code;
        }
    }

    public static void main(String[] args) throws Exception {
        Exit.setExitProcedure((code, message) -> {
            throw new Exited(code);
        });
        Path dirs = Path.of(args[0]);
        Path said = Path.of(args[1]);
        for (Path path : below(dirs)) {
            String to = said.resolve(dirs.relativize(path)).toString();
            if (Files.isDirectory(path)) {
                lookAtFolder(path, to);
            } else {
                lookAtFile(path, to);
            }
        }
    }

    private static List<Path> below(Path folder) throws IOException {
        try (Stream<Path> paths = Files.walk(folder)) {
            return paths.sorted().toList();
        }
    }

    private static void lookAtFolder(Path path, String to) throws IOException {
        // A partition's, and neither deleted nor set aside.
        if (path.getFileName().toString().matches(".+-\\d+")) {
            say(to, "trusted", () -> Load.load(path, true));
            say(to, "recovered", () -> Load.load(path, false));
        }
    }

    private static void lookAtFile(Path path, String to) throws IOException {
        String name = path.getFileName().toString();
        if (name.endsWith(".log")) {
            dump(path, to, "data", "--deep-iteration", "--print-data-log");
            say(to, "records", () -> Records.print(path));
            if (path.getParent().getFileName().toString().startsWith("__consumer_offsets-")) {
                dump(path, to, "offsets", "--offsets-decoder");
            }
        } else if (name.endsWith(".index") || name.endsWith(".timeindex")) {
            dump(path, to, "sane", "--index-sanity-check");
            dump(path, to, "verified", "--verify-index-only");
            dump(path, to, "entries");
        } else if (name.endsWith(".snapshot")) {
            dump(path, to, "producers");
        }
    }

    private static void dump(Path path, String to, String how, String... options)
            throws IOException {
        Stream<String> files = Stream.of("--files", path.toString());
        String[] args = Stream.concat(Stream.of(options), files).toArray(String[]::new);
        say(to, how, () -> DumpLogSegments.main(args));
    }

    /** Runs it with the standard streams going to files. */
    private static void say(String to, String how, Eye eye) throws IOException {
        Path out = Path.of(to + "." + how);
        Files.createDirectories(out.getParent());
        try (PrintStream said = open(out); PrintStream complained = open(Path.of(out + ".err"))) {
            System.setOut(said);
            System.setErr(complained);
            try {
                eye.look();
            } catch (Exited exited) {
                if (exited.code != 0) {
                    complained.println("exit code " + exited.code);
                }
            } catch (Throwable thrown) {
                thrown.printStackTrace(complained);
            } finally {
                System.setOut(OUT);
                System.setErr(ERR);
            }
        }
    }

    private static PrintStream open(Path path) throws IOException {
        return new PrintStream(Files.newOutputStream(path), false, StandardCharsets.UTF_8);
    }
}
