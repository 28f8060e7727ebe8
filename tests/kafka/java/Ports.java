import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Prints so many ports of this machine that are free now. They are none of those that are given to
 * whoever connects to something, or a broker that is started again might find its own taken.
 */
public class Ports {
    private static final int FIRST = 10_000;
    /** With Linux those that are given begin at 32768. */
    private static final int END = 32_000;

    public static void main(String[] args) throws Exception {
        InetAddress here = InetAddress.getByName("127.0.0.1");
        Random random = new Random();
        List<ServerSocket> taken = new ArrayList<>();
        while (taken.size() < Integer.parseInt(args[0])) {
            try {
                taken.add(new ServerSocket(random.nextInt(FIRST, END), 1, here));
            } catch (IOException occupied) {
                // Another one, then.
            }
        }
        List<String> ports = new ArrayList<>();
        for (ServerSocket socket : taken) {
            ports.add(Integer.toString(socket.getLocalPort()));
            socket.close();
        }
        System.out.println(String.join(" ", ports));
    }
}
